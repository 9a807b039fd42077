"""What a full verification has done so far and what it has to look at again, in DIR/NAME/verify/book.sqlite.

Invariant: a transaction holds positions together with what was found up to them, so that a verification that
was stopped goes on without losing or doubling anything.
"""

import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from engine.batch import Cursor, Segment

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE segments (
    job INTEGER, number INTEGER, after TEXT, until TEXT, at TEXT, done INTEGER NOT NULL,
    PRIMARY KEY (job, number)
);
CREATE TABLE places (number INTEGER PRIMARY KEY, job INTEGER, after TEXT, until TEXT, keys TEXT);
CREATE TABLE scans (segment INTEGER PRIMARY KEY, start TEXT, done INTEGER NOT NULL);
CREATE TABLE suspects (
    id INTEGER PRIMARY KEY, place INTEGER, key_hash INTEGER NOT NULL, source INTEGER, target INTEGER, key TEXT
);
CREATE INDEX suspects_by_place ON suspects (place);
CREATE TABLE tallies (name TEXT PRIMARY KEY, count INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a source some items come from: a range of a job's rows, or `keys` one by one."""

    job: int
    after: Cursor | None = None
    until: Cursor | None = None
    keys: tuple[Cursor, ...] | None = None


@dataclass(frozen=True, slots=True)
class Suspect:
    """An item that must be looked at again.

    Shape: `place` None: no place of the source gave it. `source` and `target` are the contents when it was
    seen last, as hashes. `key` is the item's key where the target had it.
    """

    place: int | None
    key_hash: int
    source: int
    target: int
    key: dict[str, Any] | None


class Book:
    """The file. Belongs to one thread at a time; `with book.transaction()` around what belongs together."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = sqlite3.connect(directory / "book.sqlite", isolation_level=None, check_same_thread=False)
        self._file.execute("PRAGMA journal_mode = WAL")
        if not self._file.execute("SELECT name FROM sqlite_master WHERE name = 'meta'").fetchall():
            self._file.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def begin(self) -> None:
        """Begin a transaction."""
        self._file.execute("BEGIN")

    def commit(self) -> None:
        """Make it durable."""
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
        rows = [(job, each.number, _text(each.after), _text(each.until), None, 0) for each in segments]
        self._file.executemany("INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?)", rows)

    def segments(self, job: int) -> list[tuple[Segment, Cursor | None, bool]]:
        """Return the segments of a job's source, each with where it has got to and whether it is done."""
        rows = self._file.execute(
            "SELECT number, after, until, at, done FROM segments WHERE job = ? ORDER BY number", (job,)
        )
        return [
            (Segment(number, _cursor(after), _cursor(until), None), _cursor(at), bool(done))
            for number, after, until, at, done in rows
        ]

    def segment_at(self, job: int, number: int, at: Cursor | None, *, done: bool) -> None:
        """Note where a segment has got to."""
        self._file.execute(
            "UPDATE segments SET at = ?, done = ? WHERE job = ? AND number = ?",
            (_text(at), done, job, number),
        )

    def places_count(self) -> int:
        """Return the number of places, which is the next one's."""
        return int(self._file.execute("SELECT coalesce(max(number) + 1, 0) FROM places").fetchone()[0])

    def add_place(self, number: int, place: Place) -> None:
        """Note a place."""
        keys = None if place.keys is None else orjson.dumps([each.key for each in place.keys]).decode()
        row = (number, place.job, _text(place.after), _text(place.until), keys)
        self._file.execute("INSERT INTO places VALUES (?, ?, ?, ?, ?)", row)

    def place(self, number: int) -> Place:
        """Return a place."""
        job, after, until, keys = self._file.execute(
            "SELECT job, after, until, keys FROM places WHERE number = ?", (number,)
        ).fetchone()
        named = None if keys is None else tuple(Cursor(tuple(key)) for key in orjson.loads(keys))
        return Place(job, _cursor(after), _cursor(until), named)

    def plan_scans(self, total: int) -> None:
        """Note the segments of the target's scan."""
        self._file.executemany(
            "INSERT INTO scans VALUES (?, NULL, 0)", [(number,) for number in range(total)]
        )

    def scans(self) -> list[tuple[int, dict[str, Any] | None, bool]]:
        """Return the scan's segments, each with the key behind which it goes on, and whether it is done."""
        rows = self._file.execute("SELECT segment, start, done FROM scans ORDER BY segment")
        return [
            (segment, None if start is None else orjson.loads(start), bool(done))
            for segment, start, done in rows
        ]

    def scan_at(self, segment: int, start: dict[str, Any] | None) -> None:
        """Note where a scan's segment has got to; None: to its end."""
        text = None if start is None else orjson.dumps(start).decode()
        self._file.execute(
            "UPDATE scans SET start = ?, done = ? WHERE segment = ?", (text, start is None, segment)
        )

    def suspect(self, suspects: Iterable[Suspect]) -> None:
        """Note items to look at again."""
        self._file.executemany(
            "INSERT INTO suspects (place, key_hash, source, target, key) VALUES (?, ?, ?, ?, ?)",
            [
                (
                    each.place,
                    _signed(each.key_hash),
                    _signed(each.source),
                    _signed(each.target),
                    None if each.key is None else orjson.dumps(each.key).decode(),
                )
                for each in suspects
            ],
        )

    def suspects_count(self) -> int:
        """Return the number of items to look at again."""
        return int(self._file.execute("SELECT count(*) FROM suspects").fetchone()[0])

    def suspicious_places(self) -> list[int]:
        """Return the places of the source that must be read again, ascending."""
        rows = self._file.execute(
            "SELECT DISTINCT place FROM suspects WHERE place IS NOT NULL ORDER BY place"
        )
        return [row[0] for row in rows]

    def suspects_of(self, place: int) -> list[Suspect]:
        """Return the items of one place that must be looked at again."""
        return list(self._suspects("WHERE place = ?", (place,)))

    def suspects_nowhere(self) -> Iterator[Suspect]:
        """Yield the items that the target has and no place of the source gave."""
        return self._suspects("WHERE place IS NULL ORDER BY id", ())

    def forget_suspects(self) -> None:
        """Drop all of them."""
        self._file.execute("DELETE FROM suspects")

    def _suspects(self, condition: str, arguments: tuple[Any, ...]) -> Iterator[Suspect]:
        rows = self._file.execute(
            f"SELECT place, key_hash, source, target, key FROM suspects {condition}",  # noqa: S608
            arguments,
        )
        for place, key_hash, source, target, key in rows:
            yield Suspect(
                place,
                _unsigned(key_hash),
                _unsigned(source),
                _unsigned(target),
                None if key is None else orjson.loads(key),
            )

    def add(self, tallies: dict[str, int]) -> None:
        """Add to what was counted."""
        self._file.executemany(
            "INSERT INTO tallies VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET count = count + excluded.count",
            [(name, count) for name, count in tallies.items() if count],
        )

    def tallies(self) -> dict[str, int]:
        """Return what was counted."""
        return dict(self._file.execute("SELECT name, count FROM tallies").fetchall())


def open_book(directory: Path, fingerprint: str, *, fresh: bool) -> Book:
    """Open the book of a verification, the begun one if it was for the same."""
    book = Book(directory)
    known = book.get("fingerprint")
    if fresh or known != fingerprint:
        if known is not None:
            book.close()
            shutil.rmtree(directory)
            book = Book(directory)
        book.put("fingerprint", fingerprint)
    return book


def discard(book: Book) -> None:
    """Remove all that a verification has kept."""
    book.close()
    shutil.rmtree(book.directory)


def _text(cursor: Cursor | None) -> str | None:
    return None if cursor is None else orjson.dumps(cursor.key).decode()


def _cursor(text: str | None) -> Cursor | None:
    return None if text is None else Cursor(tuple(orjson.loads(text)))


def _signed(value: int) -> int:
    """SQLite's integers have a sign."""
    return value - 2**64 if value >= 2**63 else value


def _unsigned(value: int) -> int:
    return value + 2**64 if value < 0 else value
