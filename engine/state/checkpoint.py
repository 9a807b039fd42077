"""The checkpoint of one job in DIR/NAME, written by the holder of the job's lease only.

Invariant: one transaction holds cursors, counts, effort and the dead-letter file's length, so the state is
always that of one moment; after a failed commit nothing of it counts, in memory neither.
"""

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from engine.batch import Effort, Mark
from engine.clock import utc_now
from engine.contracts.state import RunState
from engine.durable import sync_directory
from engine.errors import JobError, PermanentError
from engine.state import file as state_file
from engine.state import lease as leases
from engine.state import records
from engine.state.dead_letters import FILE_NAME, DeadLetterFile, lines
from engine.state.file import STATE_NAME, read_state
from engine.state.records import RunRecord, SegmentRecord
from engine.tenure import Tenure

__all__ = ["SqliteStore", "open_store", "read_state", "utc_now"]

_T = TypeVar("_T")


def open_store(state_dir: Path, job_name: str, now: Callable[[], str] = utc_now) -> "SqliteStore":
    """Take the job's lease and return its store.

    Raises: JobError when another process runs the job; PermanentError when the directory can't be used.
    """
    return SqliteStore(state_dir / job_name, leases.take(state_dir, job_name), now)


class SqliteStore:
    """The CheckpointStore in a local file. Every SQLite call runs in one thread of its own."""

    def __init__(self, directory: Path, lease: leases.Lease, now: Callable[[], str]) -> None:
        self._path = directory / STATE_NAME
        self._letters = DeadLetterFile(directory / FILE_NAME)
        self._lease = lease
        self._tenure = Tenure()
        self._now = now
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        # From here on touched only in that thread:
        self._connection: sqlite3.Connection | None = None
        self._run: RunRecord | None = None
        self._segments: dict[int, SegmentRecord] = {}
        self._writing = False
        self._acked_at: str | None = None

    @property
    def lease_fd(self) -> int:
        """The lease's descriptor, for workers to inherit."""
        return self._lease.fd

    @property
    def tenure(self) -> Tenure:
        """Without an end: a stopped process goes on holding its lock."""
        return self._tenure

    @property
    def dead_letters(self) -> Path:
        """Where dead letters are kept."""
        return self._letters.path

    async def load(self) -> RunState | None:
        """Return the latest run, or None; changes nothing."""
        return await self._in_thread(self._load)

    async def last_complete(self) -> RunState | None:
        """Return the latest run that went to its end, without its segments."""
        return await self._in_thread(self._last_complete)

    async def begin(self, run: RunState) -> None:
        """Start a run and forget the one before it; damaged state is moved aside, not deleted."""
        await self._in_thread(lambda: self._begin(run))

    async def resume(self) -> RunState:
        """Go on with the unfinished run that `load` returned."""
        return await self._in_thread(self._resume)

    async def advance(self, marks: Sequence[Mark], effort: Effort) -> None:
        """Make marks durable with their counts and dead letters, in one transaction."""
        await self._in_thread(lambda: self._advance(marks, effort))

    async def finish(self, outcome: str, finished_at: str, effort: Effort, error: str | None) -> None:
        """Record how this process's part of the run ended."""
        await self._in_thread(lambda: self._finish(outcome, finished_at, effort, error))

    async def collect_dead_letters(self) -> Path:
        """Return the file of dead letters, which is complete."""
        return self._letters.path

    async def replace_dead_letters(self, lines: Iterable[bytes]) -> None:
        """Put other lines in place of all dead letters. A closed run doesn't count on the file's length."""
        await self._in_thread(lambda: self._replace_letters(lines))

    async def close(self) -> None:
        """Close the file and give the lease back."""
        try:
            await self._in_thread(self._disconnect)
        finally:
            self._thread.shutdown()
            self._lease.release()

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        """Run a call in the store's thread; a cancelled caller leaves it to its end, whole."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _load(self) -> RunState | None:
        self._read()
        if self._run is None:
            return None
        if not self._run.run.closed:
            self._letters.check(self._run.letters_end)
        return records.whole(self._run, self._segments.values())

    def _read(self) -> None:
        """Read the latest run into memory. Raises: JobError when the state is damaged."""
        if not self._path.exists():
            return
        with state_file.damage_told(self._path):
            latest = state_file.read_latest(self._connect())
        if latest is not None:
            self._run, self._segments = latest

    def _last_complete(self) -> RunState | None:
        if not self._path.exists():
            return None
        with state_file.damage_told(self._path):
            closed = state_file.read_last_closed(self._connect())
        return None if closed is None else closed.run

    def _begin(self, run: RunState) -> None:
        try:
            self._read()
        except JobError:
            self._run, self._segments = None, {}
            self._move_aside(run)
        with self._failure_told():
            base = self._dead_letters_before(run)
            record = records.begun(run, letters_base=base, letters_of=(run.run_id,))
            segments = records.segments_of(run)
            state_file.write_new(self._connect(), record, segments)
            self._run, self._segments, self._writing = record, segments, True
            self._letters.cut(base)

    def _move_aside(self, run: RunState) -> None:
        """Keep a damaged state file under another name."""
        self._disconnect()
        with self._failure_told():
            for suffix in ("", "-wal", "-shm"):
                part = self._path.with_name(STATE_NAME + suffix)
                if part.exists():
                    part.replace(part.with_name(f"before-{run.run_id}.{part.name}"))
            sync_directory(self._path.parent)

    def _dead_letters_before(self, run: RunState) -> int:
        """Return the length at which the run's own dead letters begin."""
        if self._run is not None and not self._run.run.closed:
            self._letters.cut(self._run.letters_end)
        if run.kind == "catch_up":
            return self._letters.settle_end()
        self._letters.copy_aside(self._run.run.run_id if self._run else f"before-{run.run_id}")
        return 0

    def _resume(self) -> RunState:
        if self._run is None:
            self._load()
        assert self._run is not None, "no run to go on with"
        assert not self._run.run.closed, f"run {self._run.run.run_id} is closed"
        assert not self._writing, f"run {self._run.run.run_id} is being written already"
        self._letters.check(self._run.letters_end)
        restarted = {
            number: records.restarted(segment)
            for number, segment in self._segments.items()
            if segment.unresumable
        }
        assert not restarted or len(self._segments) == 1, "a source without a key has one segment"
        length = self._run.letters_base if restarted else self._run.letters_end
        with self._failure_told():
            self._commit(records.resumed(self._run), restarted, length)
            self._letters.cut(length)
        self._writing = True
        return records.whole(self._run, self._segments.values())

    def _advance(self, marks: Sequence[Mark], effort: Effort) -> None:
        run = self._current()
        changed = records.advanced(self._segments, marks)
        letters = [letter for mark in marks for letter in mark.dead_letters]
        with self._failure_told():
            length = self._letters.append(lines(run.run.run_id, self._now(), letters), run.letters_end)
            self._commit(records.spent(run, effort), changed, length)
        self._acked_at = self._now()

    def _finish(self, outcome: str, finished_at: str, effort: Effort, error: str | None) -> None:
        run = records.spent(self._current(), effort)
        run = records.ended(run, self._segments, outcome, finished_at, error)
        with self._failure_told():
            self._commit(run, {}, run.letters_end)
        self._writing = False

    def _replace_letters(self, lines: Iterable[bytes]) -> None:
        assert self._run is None or self._run.run.closed, "an unfinished run counts on its dead letters"
        with self._failure_told(), self._letters.replacing() as write:
            for line in lines:
                write(line)

    def _current(self) -> RunRecord:
        assert self._run is not None, "begin or resume first"
        assert self._writing, "begin or resume first"
        return self._run

    def _commit(self, run: RunRecord, changed: Mapping[int, SegmentRecord], letters_end: int) -> None:
        """Write a run and the segments that changed; only then are they what this store believes."""
        run = records.with_letters(run, letters_end)
        state_file.write_change(self._connect(), run, changed)
        self._run = run
        self._segments.update(changed)

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = state_file.connect(self._path)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _failure_told(self) -> Iterator[None]:
        """Map what a full or failing disk raises to one sentence."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            since = f"after {self._acked_at}" if self._acked_at else "since this start"
            raise PermanentError(
                f"the checkpoint in {self._path.parent} can't be written ({_cause(error)}); nothing {since}"
                " is acked: make room or mend the disk, and run again"
            ) from error


def _cause(error: Exception) -> str:
    if isinstance(error, OSError):
        return os.strerror(error.errno or errno.EIO)
    return str(error)
