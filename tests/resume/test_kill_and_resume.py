"""SIGKILL at random moments, then resume: the target equals an uninterrupted run's, the counts balance."""

import asyncio
import json
import random
import uuid
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support import wire_scan
from tests.support.command import Command
from tests.support.kills import run_with_kills

ROWS = 20_000
SOAK_ROWS = 100_000
SOAK_RUNS = 50


async def fill(url: str, rows: int) -> None:
    """Make a table whose every 1,000th row can't be written: its key is empty."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            """
            CREATE TABLE events (id bigint PRIMARY KEY, account int NOT NULL, kind text NOT NULL,
                                 amount numeric(12, 2), body text, at timestamptz NOT NULL)
            """
        )
        await connection.execute(
            """
            INSERT INTO events
            SELECT g, g % 997, CASE WHEN g % 1000 = 0 THEN '' ELSE 'k' || g % 7 END, g / 4.0,
                   CASE WHEN g % 3 = 0 THEN NULL ELSE repeat('x', (g % 50)::int) || E'"\\n' END,
                   timestamptz '2024-01-01Z' + g * interval '1.5 seconds'
            FROM generate_series(1, $1::bigint) g
            """,
            rows,
        )
        await connection.execute("ANALYZE events")
    finally:
        await connection.close()


def job(url: str, endpoint: str, table: str, **source: Any) -> dict[str, Any]:
    return {
        "name": "events",
        "source": {
            "type": "postgres",
            "url": url,
            "table": "events",
            "batch_rows": 500,
            "segments": 6,
            **source,
        },
        "target": {
            "type": "dynamodb",
            "table": table,
            "endpoint_url": endpoint,
            "region": "us-east-1",
            "create": {"billing": "on_demand"},
        },
        "items": [
            {
                "name": "Row",
                "key": {"PK": "EVENT#{id}", "SK": "ROW"},
                "include": "all",
                "when": "kind <> ''",
            },
            {"name": "Empty", "key": {"PK": "EMPTY#{id}", "SK": "{kind}"}, "when": "kind = ''"},
        ],
    }


class Rehearsal:
    """One source and the target that an uninterrupted run gives."""

    def __init__(self, url: str, endpoint: str, folder: Path, rows: int) -> None:
        self.url, self.endpoint, self.folder, self.rows = url, endpoint, folder, rows
        whole = self.command("whole")
        ended = whole.run("run", "--json")
        assert ended.code == 3, ended.stderr
        self.report = ended.report
        self.items = self.scan(whole)

    def command(self, name: str) -> Command:
        folder = self.folder / name
        folder.mkdir()
        command = Command(folder, job(self.url, self.endpoint, f"t-{name}-{uuid.uuid4().hex[:8]}"))
        created = command.run("table create")
        assert created.code == 0, created.stderr
        return command

    def scan(self, command: Command) -> dict[tuple[str, ...], Any]:
        return wire_scan.scan(self.endpoint, command.job["target"]["table"])

    def killed(self, seed: int, *, kills: int, longest_s: float, workers: int) -> int:
        """Load with kills and hold the outcome against the uninterrupted run's."""
        command = self.command(f"killed-{seed}")
        rng = random.Random(seed)
        ended, killed = run_with_kills(command, rng, kills=kills, longest_s=longest_s, workers=workers)
        assert ended.code == 3, ended.stderr
        report = ended.report
        for figure in COUNTS:
            assert report[figure] == self.report[figure], figure
        assert report["items_emitted"] == sum(report[figure] for figure in FATES)
        assert self.scan(command) == self.items
        letters = (command.folder / ".backfill/events/dead-letters.jsonl").read_text().splitlines()
        keys = [json.loads(line)["source_key"]["id"] for line in letters]
        assert sorted(keys, key=int) == [str(n) for n in range(1000, self.rows + 1, 1000)]
        return killed


COUNTS = ("rows_read", "items_emitted", "items_written", "items_dead_lettered", "items_coalesced")
FATES = ("items_written", "items_deleted", "items_skipped", "items_coalesced", "items_dead_lettered")


@pytest.fixture
def rehearsal(postgres_url: str, dynoxide: str, tmp_path: Path) -> Rehearsal:
    asyncio.run(fill(postgres_url, ROWS))
    return Rehearsal(postgres_url, dynoxide, tmp_path, ROWS)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_killed_several_times_ends_as_an_uninterrupted_one(rehearsal: Rehearsal, workers: int) -> None:
    killed = sum(
        rehearsal.killed(seed, kills=3, longest_s=4.0, workers=workers) for seed in (workers, 10 + workers)
    )
    assert killed >= 2, "the kills came too late to mean anything"


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak(postgres_url: str, dynoxide: str, tmp_path: Path) -> None:
    asyncio.run(fill(postgres_url, SOAK_ROWS))
    rehearsal = Rehearsal(postgres_url, dynoxide, tmp_path, SOAK_ROWS)
    for seed in range(SOAK_RUNS):
        killed = rehearsal.killed(seed, kills=4, longest_s=12.0, workers=1 + seed % 2)
        print(f"run {seed + 1} of {SOAK_RUNS}: killed {killed} times, equal, counts balance", flush=True)
