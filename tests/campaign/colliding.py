"""Seeds of rows that make each other's keys: they change and are caught up with, by runs that are killed.

Invariant: a seed is well only when the target holds what the rows say in the end, as a fresh load's does, and
`verify --full` says 100 %.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from bench import mongod, servers
from tests.campaign.checks import FATES
from tests.support.colliding import (
    POOLS,
    SHAPES,
    Bring,
    Colliding,
    held,
    in_mongodb,
    in_postgres,
    loaded_by,
)
from tests.support.command import Command
from tests.support.kills import finish, run_with_kills

MONGODB_SHARE = 0.3
MODES = ("put", "put", "insert", "newer")
SEGMENTS = ({}, {"segments": 4, "batch_rows": 20})
"""One that is read in order, several whose keys are asked for or settled where there are two workers."""
ROWS, TURNS, CHANGES = 150, 2, 60
MAX_WCU = 25
"""So slow that a run of these rows takes some seconds, and can be killed in its middle."""
KILL_S = 4.0


def run_colliding(numbers: Sequence[int]) -> int:
    """Run seeds, a line each; return how many failed."""
    failed = 0
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ.setdefault(name, "local")
    with tempfile.TemporaryDirectory(prefix="bf-colliding-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with (
            servers.embedded_postgres(folder / "postgres") as postgres,
            mongod.mongod(folder / "mongodb") as mongodb,
            servers.dynoxide() as endpoint,
        ):
            for number in numbers:
                said, failures = run_seed(number, postgres, mongodb, endpoint, folder / f"seed-{number}")
                print(f"keys {number:>4}  {said}  {'FAILED' if failures else 'well'}", flush=True)
                for failure in failures:
                    print(f"    {failure}", flush=True)
                failed += bool(failures)
    return failed


def run_seed(
    number: int, postgres: str, mongodb: str, endpoint: str, folder: Path
) -> tuple[str, Sequence[str]]:
    """Run one seed; return what it is, and what failed."""
    random = Random(f"colliding {number}")
    shape = random.choice(SHAPES)
    documents = random.random() < MONGODB_SHARE
    kind = "" if documents else random.choice(sorted(POOLS))
    table = Colliding(random, shape, kind, random.choice(MODES))
    cut = random.choice(SEGMENTS)
    where = in_mongodb(mongodb, table) if documents else in_postgres(postgres, table)
    with where as (source, bring):
        killed, failures = _changed_and_killed(table, source | cut, bring, endpoint, folder)
    where_from = f"{kind or 'mongodb':<12} {cut.get('segments', 1)} segments"
    return f"{where_from}  {shape:<10} {table.mode:<7} killed {killed}", failures


def _changed_and_killed(
    table: Colliding, source: dict[str, Any], bring: Bring, endpoint: str, folder: Path
) -> tuple[int, Sequence[str]]:
    """Load, change and catch up, with kills and with changes between a kill and the next run."""
    command = loaded_by(folder, source, table, endpoint, max_wcu=MAX_WCU)
    table.fill(ROWS)
    bring(table.rows, long_ago=True)
    killed, failures = 0, []
    for _ in range(1 + TURNS):
        workers = table.random.choice((1, 2))
        ended, count = run_with_kills(command, table.random, kills=1, longest_s=KILL_S, workers=workers)
        killed += count
        bring(table.turn(CHANGES))
        ended, count = run_with_kills(command, table.random, kills=1, longest_s=KILL_S, workers=workers)
        killed += count
        failures += _report(ended.code, ended.report if ended.stdout else {}, ended.stderr)
    ended = finish(command, 1)  # what came while the last run was being killed
    failures += _report(ended.code, ended.report if ended.stdout else {}, ended.stderr)
    if table.mode == "insert":  # what is there stays, so what it is hangs on when a run saw the rows
        failures += _strangers(table, command)
    else:
        failures += _differences(table, command, "the target")
        verified = command.run("verify", "--full", "--json")
        if verified.code != 0 or verified.report["consistency_percent"] != 100:
            failures.append(f"verify ends with {verified.code}: {verified.stdout} {verified.stderr}")
    fresh = loaded_by(folder / "fresh", source, table, endpoint)
    finish(fresh, 2)
    return killed, [*failures, *_differences(table, fresh, "a fresh load")]


def _report(code: int, report: dict[str, Any], stderr: str) -> list[str]:
    if code not in (0, 3):
        return [f"a run ended with {code}: {stderr}"]
    if report["items_emitted"] != sum(report[fate] for fate in FATES):
        return [f"items_emitted {report['items_emitted']} isn't the sum of {[report[f] for f in FATES]}"]
    return []


def _strangers(table: Colliding, command: Command) -> list[str]:
    wanted, found = table.expected(), held(command)
    bad = sorted(wanted.keys() ^ found.keys()) + [
        key for key, item in found.items() if item not in table.past.get(key, ())
    ]
    return [f"{len(bad)} items are missing or nobody's: {bad[0]} is {found.get(bad[0])}"] if bad else []


def _differences(table: Colliding, command: Command, what: str) -> list[str]:
    wanted, found = table.expected(), held(command)
    differing = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
    if not differing:
        return []
    key = differing[0]
    told = f"{key} is {found.get(key)}, must be {wanted.get(key)}"
    return [f"{what} differs in {len(differing)} of {len(wanted)} items: {told}"]
