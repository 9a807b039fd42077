"""The checkpoint of one job in DIR/NAME, written by the holder of the job's lease only.

Invariant: one transaction holds cursors, counts, effort and the dead-letter file's length, so the state is
always that of one moment; after a failed commit nothing of it counts, in memory neither.
"""

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from engine.batch import Effort, Mark
from engine.clock import utc_now
from engine.contracts.state import RunState
from engine.errors import JobError, PermanentError
from engine.own_files import sync_directory
from engine.state import beside, records
from engine.state import file as state_file
from engine.state import lease as leases
from engine.state.dead_letters import FILE_NAME, DeadLetterFile, lines
from engine.state.file import STATE_NAME
from engine.state.held_run import HeldRun
from engine.state.records import RunRecord, SegmentRecord
from engine.tenure import Tenure

_T = TypeVar("_T")
_P = ParamSpec("_P")


def open_store(state_dir: Path, job_name: str, now: Callable[[], str] = utc_now) -> "SqliteStore":
    """Take the job's lease and return its store.

    Raises: JobError when another process runs the job; PermanentError when the directory can't be used.
    """
    return SqliteStore(state_dir / job_name, leases.take(state_dir, job_name), now)


def _in_thread(
    call: Callable[Concatenate["SqliteStore", _P], _T],
) -> "Callable[Concatenate[SqliteStore, _P], Coroutine[Any, Any, _T]]":
    """Have a method done in the store's thread; a cancelled caller leaves it to its end, whole."""

    @wraps(call)
    async def done(store: "SqliteStore", /, *given: _P.args, **named: _P.kwargs) -> _T:
        return await asyncio.get_running_loop().run_in_executor(
            store.thread, partial(call, store, *given, **named)
        )

    return done


class SqliteStore:
    """The CheckpointStore in a local file. Every SQLite call runs in one thread of its own."""

    def __init__(self, directory: Path, lease: leases.Lease, now: Callable[[], str]) -> None:
        self._path = directory / STATE_NAME
        self._letters = DeadLetterFile(directory / FILE_NAME)
        self._lease = lease
        self.tenure = Tenure()
        """Without an end: a stopped process goes on holding its lock."""
        self._now = now
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        # From here on touched only in that thread:
        self._connection: sqlite3.Connection | None = None
        self._held = HeldRun()
        self._acked_at: str | None = None

    @property
    def lease_fd(self) -> int:
        """The lease's descriptor, for workers to inherit."""
        return self._lease.fd

    @property
    def dead_letters(self) -> Path:
        """Where dead letters are kept."""
        return self._letters.path

    @_in_thread
    def load(self) -> RunState | None:
        """Return the latest run, or None; changes nothing."""
        return self._load()

    @_in_thread
    def last_complete(self) -> RunState | None:
        """Return the latest run that went to its end, without its segments."""
        if not self._path.exists():
            return None
        with state_file.damage_told(self._path):
            closed = state_file.read_last_closed(self._connect())
        return None if closed is None else closed.run

    @_in_thread
    def begin(self, run: RunState) -> None:
        """Start a run and forget the one before it; damaged state is moved aside, not deleted."""
        try:
            self._read()
        except JobError:
            self._held = HeldRun()
            self._move_aside(run)
        with self._failure_told():
            base = self._dead_letters_before(run)
            record = records.begun(run, letters_base=base, letters_of=(run.run_id,))
            segments = records.segments_of(run)
            state_file.write_new(self._connect(), record, segments)
            self._held.begun(record, segments)
            self._letters.cut(base)

    @_in_thread
    def resume(self) -> RunState:
        """Go on with the unfinished run that `load` returned."""
        if self._held.record is None:
            self._load()
        record, restarted = self._held.to_resume()
        self._letters.check(record.letters_end)
        length = record.letters_base if restarted else record.letters_end
        with self._failure_told():
            self._commit(records.resumed(record), restarted, length)
            self._letters.cut(length)
        return self._held.resumed()

    @_in_thread
    def advance(self, marks: Sequence[Mark], effort: Effort) -> None:
        """Make marks durable with their counts and dead letters, in one transaction."""
        run = self._held.current
        changed = records.advanced(self._held.segments, marks)
        letters = [letter for mark in marks for letter in mark.dead_letters]
        with self._failure_told():
            length = self._letters.append(lines(run.run.run_id, self._now(), letters), run.letters_end)
            self._commit(records.spent(run, effort), changed, length)
        self._acked_at = self._now()

    @_in_thread
    def finish(
        self, outcome: str, finished_at: str, effort: Effort, error: str | None, watermark: str | None = None
    ) -> None:
        """Record how this process's part of the run ended."""
        run = records.spent(self._held.current, effort)
        run = records.ended(run, self._held.segments, outcome, finished_at, error, watermark)
        with self._failure_told():
            self._commit(run, {}, run.letters_end)
        self._held.writing = False

    async def collect_dead_letters(self) -> Path:
        """Return the file of dead letters, which is complete."""
        return self._letters.path

    @_in_thread
    def replace_dead_letters(self, lines: Iterable[bytes]) -> None:
        """Put other lines in place of all dead letters. A closed run doesn't count on the file's length."""
        held = self._held.record
        assert held is None or held.run.closed, "an unfinished run counts on its dead letters"
        with self._failure_told(), self._letters.replacing() as write:
            for line in lines:
                write(line)

    @_in_thread
    def keep_beside(self, name: str, text: str | None) -> None:
        """Keep a text in a file of its own; damaged state spares it."""
        with self._failure_told():
            beside.keep(self._path.parent, name, text)

    @_in_thread
    def beside(self, name: str) -> str | None:
        """Return what is kept there under that name."""
        with self._failure_told():
            return beside.kept(self._path.parent, name)

    async def close(self) -> None:
        """Close the file and give the lease back."""
        try:
            await self._disconnected()
        finally:
            self.thread.shutdown()
            self._lease.release()

    def _load(self) -> RunState | None:
        self._read()
        held = self._held.record
        if held is not None and not held.run.closed:
            self._letters.check(held.letters_end)
        return self._held.state

    def _read(self) -> None:
        """Read the latest run into memory. Raises: JobError when the state is damaged."""
        if not self._path.exists():
            return
        with state_file.damage_told(self._path):
            latest = state_file.read_latest(self._connect())
        if latest is not None:
            self._held.record, self._held.segments = latest

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
        before = self._held.record
        if before is not None and not before.run.closed:
            self._letters.cut(before.letters_end)
        if run.kind == "catch_up":
            return self._letters.settle_end()
        self._letters.copy_aside(before.run.run_id if before else f"before-{run.run_id}")
        return 0

    def _commit(self, run: RunRecord, changed: Mapping[int, SegmentRecord], letters_end: int) -> None:
        """Write a run and the segments that changed; only then are they what this store believes."""
        run = records.with_letters(run, letters_end)
        state_file.write_change(self._connect(), run, changed)
        self._held.record = run
        self._held.segments.update(changed)

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = state_file.connect(self._path)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @_in_thread
    def _disconnected(self) -> None:
        self._disconnect()

    @contextmanager
    def _failure_told(self) -> Iterator[None]:
        """Map what a full or failing disk raises to one sentence."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            cause = os.strerror(error.errno or errno.EIO) if isinstance(error, OSError) else error
            since = f"after {self._acked_at}" if self._acked_at else "since this start"
            raise PermanentError(
                f"the checkpoint in {self._path.parent} can't be written ({cause}); nothing {since}"
                " is acked: make room or mend the disk, and run again"
            ) from error
