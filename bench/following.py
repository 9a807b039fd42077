"""What catching up from PostgreSQL's log takes, and how far `--follow` is behind an application.

Invariant: the lag is measured from outside, from the moment in which the application heard that its
transaction is committed to that in which the target answered for the last of its items; a rate that wasn't
reached is told as it was.
"""

# ruff: noqa: S608 - all of the SQL is our own

import asyncio
import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import yaml

from bench import compare, orders, servers, trust
from bench.clocked_null import TURN, clocked_null_target
from engine.environment import module_command
from engine.errors import PermanentError

CHANGED = 10_000
RATES = (1_000, 5_000)
"""Changes a second."""
COMMITS_A_S = 100
BURST = 200
"""Transactions of a backlog for each second that a rate is held."""
ARRIVE_S = 120.0
LOOK_S = 0.2
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def run(_: str, sizes: compare.Sizes, tell: compare.Tell) -> dict[str, Any]:
    """Load a table, change it, catch up; then follow it, and change it at several rates."""
    with (
        tempfile.TemporaryDirectory(prefix="backfill-log-") as name,
        clocked_null_target() as endpoint,
        _logical_postgres(Path(name)) as server,
        compare.table_of(server, sizes.log_rows) as source,
    ):
        folder = Path(name)
        asyncio.run(_prepared(source))
        job = _job(source, endpoint)
        loaded = trust.command(folder, job, "run", "--json", "--workers", "1")
        tell(f"full run of {sizes.log_rows:,} rows: {loaded.cpu_s:.1f} s of CPU, {loaded.elapsed_s:.1f} s")
        empty = trust.command(folder, job, "run", "--json", "--workers", "1")
        asyncio.run(_changed(source, sizes.log_rows))
        caught = trust.command(folder, job, "run", "--json", "--workers", "1")
        found = {
            "rows": sizes.log_rows,
            "full_run": _took(loaded),
            "nothing_changed": _took(empty),
            "changed": CHANGED,
            "caught_up": {**_took(caught), "rows_read": caught.report["rows_read"]},
        }
        tell(
            f"{CHANGED:,} of {sizes.log_rows:,} rows changed: {caught.cpu_s:.1f} s of CPU,"
            f" {caught.elapsed_s:.1f} s ({empty.cpu_s:.1f} and {empty.elapsed_s:.1f} s where nothing has)"
        )
        with _follower(folder, job) as pid:
            writing = _Writing(source, endpoint, pid, sizes.log_rows, tell)
            found["burst"] = asyncio.run(writing.burst(BURST * sizes.log_seconds))
            found["follow"] = [asyncio.run(writing.paced(rate, sizes.log_seconds)) for rate in RATES]
        trust.command(folder, job, "log drop")
    return found


def _took(ran: trust.Ran) -> dict[str, float]:
    return {
        "cpu_s": round(ran.cpu_s, 2),
        "elapsed_s": round(ran.elapsed_s, 2),
        "peak_rss_mb": round(ran.peak_rss_mb, 1),
    }


@contextmanager
def _logical_postgres(folder: Path) -> Iterator[str]:
    """Run an embedded PostgreSQL of its own whose log tells of rows."""
    folder.chmod(0o755)
    with servers.embedded_postgres(folder / "postgres") as server:
        servers.execute(server, "ALTER SYSTEM SET wal_level = 'logical'")
    with servers.embedded_postgres(folder / "postgres") as server:
        yield server


async def _prepared(source: str) -> None:
    connection = await asyncpg.connect(source)
    try:
        await connection.execute("ALTER TABLE orders ADD COLUMN turn int, REPLICA IDENTITY FULL")
    finally:
        await connection.close()


def _job(source: str, endpoint: str) -> Mapping[str, Any]:
    job = orders.job(source, endpoint)
    job["source"]["catch_up"] = {"type": "log", "slot": "bench"}
    job["items"][0]["attributes"][TURN] = "{turn}"
    return job


async def _changed(source: str, rows: int) -> None:
    """Change rows all over the table: most a value, some their key, some are deleted."""
    every = rows // CHANGED
    kinds = (
        f"UPDATE orders SET status = 'changed' WHERE id % {every} = 0 AND id / {every} % 10 < 8",
        f"UPDATE orders SET user_id = user_id + 50000 WHERE id % {every} = 0 AND id / {every} % 10 = 8",
        f"DELETE FROM orders WHERE id % {every} = 0 AND id / {every} % 10 = 9",
    )
    connection = await asyncpg.connect(source)
    try:
        for kind in kinds:
            await connection.execute(kind)
    finally:
        await connection.close()


@contextmanager
def _follower(folder: Path, job: Mapping[str, Any]) -> Iterator[int]:
    """Run `backfill run --follow`; end it as a user does, which is no failure."""
    job_file = folder / "job.yaml"
    job_file.write_text(yaml.safe_dump(dict(job), sort_keys=False), encoding="utf-8")
    with (folder / "follow.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            module_command("engine", "run", str(job_file), "--follow", "--workers", "1"),
            cwd=folder,
            env={**os.environ, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"},
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        yield process.pid
        process.send_signal(signal.SIGTERM)
        if (code := process.wait(servers.START_TIMEOUT_S)) != 0:
            said = (folder / "follow.log").read_text(errors="replace").strip().splitlines()[-1:]
            raise PermanentError(f"run --follow ended with {code}: {''.join(said)}")
    finally:
        servers.stop(process)


class _Writing:
    """The application: its transactions, each a turn, and what the target says of them."""

    def __init__(self, source: str, endpoint: str, pid: int, rows: int, tell: compare.Tell) -> None:
        self._source, self._endpoint, self._pid = source, endpoint, pid
        self._rows, self._tell = rows, tell
        self._turn = self._row = 0

    async def burst(self, transactions: int) -> dict[str, float]:
        """Commit as fast as the source does while the follower is stopped; then see what it takes."""
        rows_each = RATES[0] // COMMITS_A_S
        connection = await asyncpg.connect(self._source)
        try:
            first = await self._turned(connection, rows_each)  # it follows once this has arrived
            await self._arrived({first})
            os.kill(self._pid, signal.SIGSTOP)
            turns = {await self._turned(connection, rows_each) for _ in range(transactions)}
        finally:
            os.kill(self._pid, signal.SIGCONT)
            await connection.close()
        before, began = _cpu_s(self._pid), time.monotonic()
        await self._arrived(turns)
        cpu_s, elapsed_s = _cpu_s(self._pid) - before, time.monotonic() - began
        changes = transactions * rows_each
        self._tell(
            f"a backlog of {changes:,} changes: {changes / cpu_s:,.0f} a second of CPU, {elapsed_s:.1f} s"
        )
        return {
            "changes": changes,
            "changes_per_core_s": round(changes / cpu_s),
            "changes_per_s": round(changes / elapsed_s),
        }

    async def paced(self, rate: int, seconds: int) -> dict[str, float]:
        """Commit at a rate, and measure from each commit to the target's answer. Units: ms."""
        rows_each = rate // COMMITS_A_S
        committed: dict[int, float] = {}
        connection = await asyncpg.connect(self._source)
        before, began = _cpu_s(self._pid), time.monotonic()
        try:
            for number in range(seconds * COMMITS_A_S):
                await asyncio.sleep(max(0.0, began + number / COMMITS_A_S - time.monotonic()))
                turn = await self._turned(connection, rows_each)
                committed[turn] = time.time()
        finally:
            await connection.close()
        wrote_s = time.monotonic() - began
        seen = await self._arrived(committed)
        lags = sorted((seen[turn] - moment) * 1e3 for turn, moment in committed.items())
        changes = len(committed) * rows_each
        figures = {
            "asked_per_s": rate,
            "changes_per_s": round(changes / wrote_s),
            "p50_ms": round(_at(lags, 0.5)),
            "p99_ms": round(_at(lags, 0.99)),
            "cpu_us_per_change": round((_cpu_s(self._pid) - before) / changes * 1e6, 1),
        }
        self._tell(
            f"{figures['changes_per_s']:,} changes/s (of {rate:,}): lag p50 {figures['p50_ms']} ms,"
            f" p99 {figures['p99_ms']} ms, {figures['cpu_us_per_change']} µs of CPU a change"
        )
        return figures

    async def _turned(self, connection: Any, rows: int) -> int:
        """Change the next rows in a transaction, and return its turn."""
        if self._row + rows > self._rows:
            self._row = 0
        first, self._row, self._turn = self._row + 1, self._row + rows, self._turn + 1
        await connection.execute(
            f"UPDATE orders SET turn = {self._turn} WHERE id BETWEEN {first} AND {first + rows - 1}"
        )
        return self._turn

    async def _arrived(self, turns: Collection[int]) -> Mapping[int, float]:
        """Wait until the target has the items of all turns; return when it answered for each.

        Raises: PermanentError when they don't come.
        """
        deadline, seen = time.monotonic() + ARRIVE_S, dict[int, float]()
        while time.monotonic() < deadline:
            seen = {turn: moment for turn, _, moment in await asyncio.to_thread(self._asked) if turn in turns}
            if len(seen) == len(turns):
                await asyncio.sleep(LOOK_S)  # the last one's other items
                return {turn: moment for turn, _, moment in await asyncio.to_thread(self._asked)}
            await asyncio.sleep(LOOK_S)
        raise PermanentError(f"of {len(turns)} transactions {len(seen)} arrived within {ARRIVE_S:g} s")

    def _asked(self) -> Sequence[tuple[int, int, float]]:
        with urllib.request.urlopen(f"{self._endpoint}/turns", timeout=30) as answer:  # noqa: S310 - our own server
            found: Sequence[tuple[int, int, float]] = json.load(answer)
        return found


def _at(ascending: Sequence[float], share: float) -> float:
    return ascending[min(len(ascending) - 1, int(len(ascending) * share))]


def _cpu_s(pid: int) -> float:
    """Return the CPU that a process has taken. Source: proc(5), /proc/pid/stat, utime and stime."""
    fields = (
        Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2].split()
    )
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
