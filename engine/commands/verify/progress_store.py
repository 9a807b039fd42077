"""What a full verification has done so far and has to check again, in DIR/NAME/verify/progress.sqlite.

Invariant: a transaction holds positions together with what was found up to them, so that a verification that
was stopped goes on without losing or doubling anything.
"""

import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from engine.batch import Cursor, Segment
from engine.contracts.readback import Item
from engine.contracts.state import SegmentState

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE segments (
    job INTEGER, number INTEGER, after TEXT, until TEXT, at TEXT, done INTEGER NOT NULL,
    PRIMARY KEY (job, number)
);
CREATE TABLE scans (segment INTEGER PRIMARY KEY, start TEXT, done INTEGER NOT NULL);
CREATE TABLE row_ranges (number INTEGER PRIMARY KEY, job INTEGER, after TEXT, until TEXT, keys TEXT);
CREATE TABLE rechecks (
    id INTEGER PRIMARY KEY, row_range INTEGER, key_hash BLOB, source BLOB, target BLOB, key TEXT
);
CREATE INDEX rechecks_by_range ON rechecks (row_range);
CREATE TABLE tallies (name TEXT PRIMARY KEY, count INTEGER NOT NULL);
"""


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
        self._file = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._file.execute("PRAGMA journal_mode = WAL")
        if not self._file.execute("SELECT name FROM sqlite_master WHERE name = 'meta'").fetchall():
            self._file.executescript(_SCHEMA)

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

    def plan_segments(self, job: int, segments: Sequence[Segment]) -> None:
        """Note the segments of a job's source."""
        rows = [(job, each.number, _text(each.after), _text(each.until)) for each in segments]
        self._file.executemany("INSERT INTO segments VALUES (?, ?, ?, ?, NULL, 0)", rows)

    def segments(self, job: int) -> list[SegmentState]:
        """Return the segments of a job's source, each with where it has got to and whether it is done."""
        rows = self._file.execute(
            "SELECT number, after, until, at, done FROM segments WHERE job = ? ORDER BY number", (job,)
        )
        return [
            SegmentState(Segment(number, _cursor(after), _cursor(until), None), _cursor(at), bool(done))
            for number, after, until, at, done in rows
        ]

    def segment_at(self, job: int, number: int, at: Cursor | None, *, done: bool) -> None:
        """Note where a segment has got to."""
        self._file.execute(
            "UPDATE segments SET at = ?, done = ? WHERE job = ? AND number = ?",
            (_text(at), done, job, number),
        )

    def plan_scans(self, total: int) -> None:
        """Note the segments of the target's scan."""
        rows = [(number,) for number in range(total)]
        self._file.executemany("INSERT INTO scans VALUES (?, NULL, 0)", rows)

    def scans(self) -> list[tuple[int, Item | None, bool]]:
        """Return the scan's segments, each with the key behind which it goes on, and whether it is done."""
        rows = self._file.execute("SELECT segment, start, done FROM scans ORDER BY segment")
        return [(segment, _json(start), bool(done)) for segment, start, done in rows]

    def scan_at(self, segment: int, start: Item | None) -> None:
        """Note where a scan's segment has got to; None: to its end."""
        self._file.execute(
            "UPDATE scans SET start = ?, done = ? WHERE segment = ?",
            (_json_text(start), start is None, segment),
        )

    def row_ranges_count(self) -> int:
        """Return the number of row ranges, which is the next one's."""
        return int(self._file.execute("SELECT coalesce(max(number) + 1, 0) FROM row_ranges").fetchone()[0])

    def add_row_range(self, number: int, rows: RowRange) -> None:
        """Note a row range."""
        keys = None if rows.keys is None else [each.key for each in rows.keys]
        row = (number, rows.job, _text(rows.after), _text(rows.until), _json_text(keys))
        self._file.execute("INSERT INTO row_ranges VALUES (?, ?, ?, ?, ?)", row)

    def row_range(self, number: int) -> RowRange:
        """Return a row range."""
        job, after, until, keys = self._file.execute(
            "SELECT job, after, until, keys FROM row_ranges WHERE number = ?", (number,)
        ).fetchone()
        named = None if keys is None else tuple(Cursor(tuple(key)) for key in orjson.loads(keys))
        return RowRange(job, _cursor(after), _cursor(until), named)

    def recheck(self, entries: Iterable[RecheckEntry]) -> None:
        """Note items to check again."""
        self._file.executemany(
            "INSERT INTO rechecks (row_range, key_hash, source, target, key) VALUES (?, ?, ?, ?, ?)",
            [
                (
                    each.row_range,
                    each.key_hash.to_bytes(8),
                    each.source.to_bytes(8),
                    each.target.to_bytes(8),
                    _json_text(each.key),
                )
                for each in entries
            ],
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
        rows = self._file.execute(
            "SELECT key_hash, source, target, key FROM rechecks WHERE row_range IS ? ORDER BY id",
            (row_range,),
        )
        entries = []
        for *hashes, key in rows:
            key_hash, source, target = map(int.from_bytes, hashes)
            entries.append(RecheckEntry(row_range, key_hash, source, target, _json(key)))
        return entries

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
        store.put("fingerprint", fingerprint)
    return store


def discard(store: ProgressStore) -> None:
    """Remove all that a verification has kept."""
    store.close()
    shutil.rmtree(store.directory)


def _text(cursor: Cursor | None) -> str | None:
    return None if cursor is None else orjson.dumps(cursor.key).decode()


def _cursor(text: str | None) -> Cursor | None:
    return None if text is None else Cursor(tuple(orjson.loads(text)))


def _json_text(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _json(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)
