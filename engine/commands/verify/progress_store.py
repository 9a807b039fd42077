"""What a full verification has done so far and has to check again, in DIR/NAME/verify/progress.sqlite.

Invariant: a transaction holds positions together with what was found up to them, so that a verification that
was stopped goes on without losing or doubling anything.
"""

import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from engine.batch import Cursor
from engine.clock import utc_now
from engine.contracts.readback import Item
from engine.contracts.state import SegmentState
from engine.frozen import dataclass
from engine.own_files import no_link
from engine.plain import dumped, loaded

BEGUN_AT = "begun at"
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS states (
  kind TEXT, number INTEGER, state TEXT NOT NULL, PRIMARY KEY (kind, number)
);
CREATE TABLE IF NOT EXISTS rechecks (id INTEGER PRIMARY KEY, row_range INTEGER, entry TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS rechecks_by_range ON rechecks (row_range);
CREATE TABLE IF NOT EXISTS tallies (name TEXT PRIMARY KEY, count INTEGER NOT NULL);
COMMIT;
"""
"""All of it or nothing: whoever is killed within leaves nothing that the next one takes for the whole."""


@dataclass(frozen=True, slots=True)
class RowRange:
    """The rows that some items come from: a range of a job's rows, or `keys` one by one."""

    job: int
    after: Cursor | None = None
    until: Cursor | None = None
    keys: tuple[Cursor, ...] | None = None


@dataclass(frozen=True, slots=True)
class RecheckEntry:
    """An item that must be checked again.

    Shape: `row_range` None: no row gave it. `source` and `target` are the contents when it was seen last, as
    hashes. `key` is the item's key where the target had it.
    """

    row_range: int | None
    key_hash: int
    source: int
    target: int
    key: Item | None


class ProgressStore:
    """The file. Belongs to one thread at a time; what belongs together is written in one `transaction`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / "progress.sqlite"
        self._file = sqlite3.connect(no_link(path), isolation_level=None, check_same_thread=False)
        self._file.execute("PRAGMA journal_mode = WAL")
        try:
            if not self._file.execute("SELECT name FROM sqlite_master WHERE name = 'meta'").fetchall():
                self._file.executescript(_SCHEMA)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make durable together what is written in here; nothing of it when it fails."""
        self._file.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._file.execute("ROLLBACK")
            raise
        self._file.execute("COMMIT")

    def get(self, name: str) -> str | None:
        """Return a setting."""
        row = self._file.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, name: str, value: str) -> None:
        """Keep a setting."""
        self._file.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def segments(self, job: int) -> list[SegmentState]:
        """Return how the segments of a job's source stand; none before they are cut."""
        return [loaded(SegmentState, state) for _, state in self._states(f"segment of {job}")]

    def put_segment(self, job: int, state: SegmentState) -> None:
        """Note how a segment of a job's source stands."""
        self._put_state(f"segment of {job}", state.segment.number, dumped(state))

    def scans(self) -> list[tuple[int, Item | None, bool]]:
        """Return the scan's segments, each with the key behind which it goes on, and whether it is done."""
        return [(number, *state) for number, state in self._states("scan")]

    def put_scan(self, segment: int, start: Item | None, *, done: bool) -> None:
        """Note how a segment of the scan stands."""
        self._put_state("scan", segment, [start, done])

    def row_ranges_count(self) -> int:
        """Return the number of row ranges, which is the next one's."""
        query = "SELECT coalesce(max(number) + 1, 0) FROM states WHERE kind = 'rows'"
        return int(self._file.execute(query).fetchone()[0])

    def put_row_range(self, number: int, rows: RowRange) -> None:
        """Note a row range."""
        self._put_state("rows", number, dumped(rows))

    def row_range(self, number: int) -> RowRange:
        """Return a row range."""
        query = "SELECT state FROM states WHERE kind = 'rows' AND number = ?"
        return loaded(RowRange, orjson.loads(self._file.execute(query, (number,)).fetchone()[0]))

    def _states(self, kind: str) -> list[tuple[int, Any]]:
        query = "SELECT number, state FROM states WHERE kind = ? ORDER BY number"
        return [(number, orjson.loads(state)) for number, state in self._file.execute(query, (kind,))]

    def _put_state(self, kind: str, number: int, state: Any) -> None:
        row = (kind, number, orjson.dumps(state).decode())
        self._file.execute("INSERT OR REPLACE INTO states VALUES (?, ?, ?)", row)

    def recheck(self, entries: Iterable[RecheckEntry]) -> None:
        """Note items to check again."""
        self._file.executemany(
            "INSERT INTO rechecks (row_range, entry) VALUES (?, ?)",
            (
                (each.row_range, orjson.dumps([each.key_hash, each.source, each.target, each.key]).decode())
                for each in entries
            ),
        )

    def rechecks_count(self) -> int:
        """Return the number of items to check again."""
        return int(self._file.execute("SELECT count(*) FROM rechecks").fetchone()[0])

    def recheck_ranges(self) -> list[int]:
        """Return the row ranges that must be read again, ascending."""
        rows = self._file.execute(
            "SELECT DISTINCT row_range FROM rechecks WHERE row_range IS NOT NULL ORDER BY row_range"
        )
        return [row[0] for row in rows]

    def rechecks(self, row_range: int | None) -> list[RecheckEntry]:
        """Return the items of a row range that must be checked again; of None those that no row gave."""
        rows = self._file.execute("SELECT entry FROM rechecks WHERE row_range IS ? ORDER BY id", (row_range,))
        return [RecheckEntry(row_range, *orjson.loads(entry)) for (entry,) in rows]

    def forget_rechecks(self) -> None:
        """Drop all of them."""
        self._file.execute("DELETE FROM rechecks")

    def add(self, tallies: Mapping[str, int]) -> None:
        """Add to what was counted."""
        self._file.executemany(
            "INSERT INTO tallies VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET count = count + excluded.count",
            [(name, count) for name, count in tallies.items() if count],
        )

    def tallies(self) -> dict[str, int]:
        """Return what was counted."""
        return dict(self._file.execute("SELECT name, count FROM tallies").fetchall())


def open_store(directory: Path, fingerprint: str, *, fresh: bool) -> ProgressStore:
    """Open the store of a verification, the begun one if it was for the same."""
    store = ProgressStore(directory)
    known = store.get("fingerprint")
    if fresh or known != fingerprint:
        if known is not None:
            discard(store)
            store = ProgressStore(directory)
        with store.transaction():
            store.put("fingerprint", fingerprint)
            store.put(BEGUN_AT, utc_now())
    return store


def discard(store: ProgressStore) -> None:
    """Remove all that a verification has kept."""
    store.close()
    shutil.rmtree(store.directory)
