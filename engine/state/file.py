"""The file state.sqlite: how records get in and out of it whole.

Invariant: what is read has passed every check from the file's pages to the records' seals; what is
written is on disk when the call returns (WAL with synchronous=FULL: 0.4 ms for 8 segments on an ext4 SSD,
NORMAL 0.04 ms; with commits coalesced in time the difference isn't worth losing a dead letter or a watermark
to a power cut).
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from engine import own_files
from engine.contracts.state import RunState
from engine.errors import JobError, PermanentError
from engine.own_files import put
from engine.state import records
from engine.state.records import STATE_VERSION, Damaged, RunRecord, SegmentRecord

STATE_NAME = "state.sqlite"
HISTORY_RUNS = 50
"""Closed runs that are remembered; the latest one always is, a catch-up follows on it."""

_APPLICATION_ID = 0x42464C4C  # "BFLL": tells a state file from any other SQLite database
_BUSY_S = 10.0  # a `status` that reads holds a writer up for an instant at most
_SCHEMA = (
    "CREATE TABLE runs (number INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE,"
    " closed INTEGER NOT NULL, record TEXT NOT NULL) STRICT",
    "CREATE TABLE segments (number INTEGER PRIMARY KEY, record TEXT NOT NULL) STRICT",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {STATE_VERSION}",
)


def connect(path: Path) -> sqlite3.Connection:
    """Open a state file for writing, made with its schema when it isn't there.

    Raises: Damaged, sqlite3.Error, OSError.
    """
    if not path.exists():
        _create(path)
    connection = sqlite3.connect(own_files.no_link(path), timeout=_BUSY_S, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _create(path: Path) -> None:
    """Make a state file under another name first: one that is empty or has no schema is then damaged."""
    new = path.with_name(f"{path.name}.new")
    own_files.created(new).close()  # SQLite would make it 0644
    connection = sqlite3.connect(new, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        with _transaction(connection):
            for statement in _SCHEMA:
                connection.execute(statement)
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
    put(new, path)


def read_state(state_dir: Path, job_name: str) -> RunState | None:
    """Return a job's latest run without its lease, also while it is alive; None when it never ran.

    Raises: JobError when the state is damaged.
    """
    path = state_dir / job_name / STATE_NAME
    if not path.exists():
        return None
    with damage_told(path):
        own_files.no_link(path)
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)
        try:
            connection.execute("BEGIN")  # one view: the run and its segments belong together
            latest = read_latest(connection)
        finally:
            connection.close()
    return None if latest is None else records.whole(latest[0], latest[1].values())


def read_latest(connection: sqlite3.Connection) -> tuple[RunRecord, dict[int, SegmentRecord]] | None:
    """Return the latest run and its segments; None when there is none yet.

    Raises: Damaged; JobError when a newer version has written the file.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != _APPLICATION_ID:
        raise Damaged("it isn't a state file of backfill")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > STATE_VERSION:
        raise JobError(
            f"the checkpoint was written by a newer backfill (state version {version}, this one reads"
            f" {STATE_VERSION}): install that version again, or start over with --fresh"
        )
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise Damaged(str(verdict))
    row = connection.execute("SELECT record FROM runs ORDER BY number DESC LIMIT 1").fetchone()
    if row is None:
        return None
    run = records.read_run(row[0])
    rows = connection.execute("SELECT record FROM segments ORDER BY number").fetchall()
    return run, records.checked(run, [records.read_segment(text) for (text,) in rows])


def read_last_closed(connection: sqlite3.Connection) -> RunRecord | None:
    """Return the latest run that went to its end. Raises: Damaged."""
    row = connection.execute(
        "SELECT record FROM runs WHERE closed = 1 ORDER BY number DESC LIMIT 1"
    ).fetchone()
    return None if row is None else records.read_run(row[0])


def write_new(connection: sqlite3.Connection, run: RunRecord, segments: Mapping[int, SegmentRecord]) -> None:
    """Put a run that begins in the place of an unfinished one, and keep the latest closed ones."""
    with _transaction(connection):
        connection.execute("DELETE FROM segments")
        connection.execute("DELETE FROM runs WHERE closed = 0")
        connection.execute(
            "DELETE FROM runs WHERE number <= (SELECT max(number) FROM runs) - ?", (HISTORY_RUNS,)
        )
        connection.execute(
            "INSERT INTO runs (run_id, closed, record) VALUES (?, 0, ?)",
            (run.run.run_id, records.run_text(run)),
        )
        _put_segments(connection, segments)


def write_change(
    connection: sqlite3.Connection, run: RunRecord, changed: Mapping[int, SegmentRecord]
) -> None:
    """Put the unfinished run as it is now, and the segments that changed.

    Raises: PermanentError when it isn't there any more.
    """
    with _transaction(connection):
        updated = connection.execute(
            "UPDATE runs SET closed = ?, record = ? WHERE run_id = ? AND closed = 0",
            (int(run.run.closed), records.run_text(run), run.run.run_id),
        )
        if updated.rowcount != 1:
            raise PermanentError(
                f"run {run.run.run_id} is no longer open in its checkpoint: another run of this job took its"
                " place, which only a deleted lock file allows; see `status`, then run again"
            )
        _put_segments(connection, changed)


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Map what a damaged file raises to one sentence."""
    try:
        yield
    except (Damaged, sqlite3.Error, OSError) as error:
        what = " ".join(str(error).split())
        raise JobError(
            f"the checkpoint {path} is damaged ({what}): restore it from a backup, or start over"
            " with --fresh (the damaged file is kept aside)"
        ) from error


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block does, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _put_segments(connection: sqlite3.Connection, segments: Mapping[int, SegmentRecord]) -> None:
    connection.executemany(
        "INSERT INTO segments (number, record) VALUES (?, ?)"
        " ON CONFLICT (number) DO UPDATE SET record = excluded.record",
        [(number, records.segment_text(segment)) for number, segment in segments.items()],
    )
