"""Messages of PostgreSQL's own decoding plugin: what the rows of a peek say. Pure.

What tells of transactions and tables is read message by message, changed rows many at once, column by column.
Of columns that nobody asks for the lengths alone are looked at.

Invariant: every byte of a message is accounted for; what isn't understood is an error, never left out.
Source: PostgreSQL documentation, "Logical Replication Message Formats", protocol version 1.
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from engine.errors import PermanentError
from engine.frozen import dataclass

EPOCH_S = 946_684_800
"""2000-01-01, from which PostgreSQL counts, in seconds since 1970."""

TEXT, NULL, TOAST = b"tnu"
"""How a value was sent: as printed, as null, or not at all, since it is stored apart and wasn't touched."""
_NO_ROW = 0
_ROWS = np.frombuffer(b"IUD", np.uint8)
_INSERT, _NEW = b"IN"
_OLD = np.frombuffer(b"KO", np.uint8)
_BEHIND_RELATION = 5
_SHORT, _LONG = np.dtype(">u2"), np.dtype(">u4")

Places: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Flags: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Begin:
    """A transaction begins. `commit`: where its commit stands; `xid` without its epoch."""

    commit: int
    xid: int


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction has ended; the next begins behind `end`. Units: `at_s` since 1970, by the server."""

    end: int
    at_s: float


@dataclass(frozen=True, slots=True)
class RelationSent:
    """What the rows of a table look like from here on. `identity` as pg_class.relreplident."""

    oid: int
    name: str
    identity: str
    columns: tuple[str, ...]
    key: frozenset[str]
    """The columns of its identity."""


@dataclass(frozen=True, slots=True)
class Truncated:
    """Tables were emptied."""

    relations: tuple[int, ...]


Message: TypeAlias = Begin | Commit | RelationSent | Truncated | None

_IGNORED = b"YOM"
"""Types, origins and messages of applications: rows come as text, whatever their type and origin."""


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages, one behind the other. Shape: `starts` of each and, behind them, where the last one ends."""

    data: bytes
    starts: Places

    @classmethod
    def of(cls, data: bytes, sizes: npt.NDArray[np.uint32]) -> "Messages":
        """Return messages of these sizes."""
        return cls(data, np.concatenate(([0], np.cumsum(sizes, dtype=np.int64))))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, at: int) -> bytes:
        return self.data[self.starts[at] : self.starts[at + 1]]

    @property
    def are_rows(self) -> Flags:
        """Which of them tell that a row has changed."""
        there = np.flatnonzero(self.starts[:-1] < self.starts[1:])
        found = np.zeros(len(self), np.bool_)
        found[there] = np.isin(self._bytes[self.starts[there]], _ROWS)
        return found

    def relations(self, at: Places) -> npt.NDArray[Any]:
        """Return the tables of changed rows. Raises: PermanentError."""
        with _understood():
            if (self.starts[at] + _BEHIND_RELATION >= self.starts[at + 1]).any():
                raise ValueError("a row is cut off")
            return _numbers(self._bytes, self.starts[at] + 1, _LONG)

    @property
    def _bytes(self) -> Bytes:
        return np.frombuffer(self.data, np.uint8)


@dataclass(frozen=True, slots=True)
class ValuesSent:
    """Values of rows that have changed. Shape: columns by rows; of a row that isn't there none was sent."""

    data: bytes
    kinds: Bytes
    starts: Places
    ends: Places

    @classmethod
    def none(cls, data: bytes, columns: int, rows: int) -> "ValuesSent":
        """Return room for values."""
        return cls(data, *(np.zeros((columns, rows), kind) for kind in (np.uint8, np.int64, np.int64)))

    @property
    def there(self) -> Places:
        """The rows that are there."""
        return np.flatnonzero(self.kinds[0] != _NO_ROW)

    @property
    def sizes(self) -> Places:
        """How many bytes each row has."""
        return np.asarray((self.ends - self.starts).sum(axis=0), np.int64)

    def taken(self, rows: Places) -> "ValuesSent":
        """Return some of the rows."""
        return ValuesSent(self.data, self.kinds[:, rows], self.starts[:, rows], self.ends[:, rows])

    def or_else(self, other: "ValuesSent") -> "ValuesSent":
        """Return them with another's where a row isn't there."""
        return self._with(other, self.kinds == _NO_ROW)

    def completed(self, other: "ValuesSent") -> "ValuesSent":
        """Return them with another's where a value wasn't sent and the other has the row."""
        return self._with(other, (self.kinds == TOAST) & (other.kinds != _NO_ROW))

    def _with(self, other: "ValuesSent", where: Flags) -> "ValuesSent":
        return ValuesSent(
            self.data,
            np.where(where, other.kinds, self.kinds),
            np.where(where, other.starts, self.starts),
            np.where(where, other.ends, self.ends),
        )

    def texts(self, columns: Sequence[int]) -> list[list[str | None]]:
        """Return these columns; a row has to be there, and what wasn't sent counts as null.

        Raises: PermanentError.
        """
        with _understood():
            return [
                [
                    self.data[start:end].decode() if kind == TEXT else None
                    for kind, start, end in zip(
                        self.kinds[at].tolist(), self.starts[at].tolist(), self.ends[at].tolist(), strict=True
                    )
                ]
                for at in columns
            ]


@dataclass(frozen=True, slots=True)
class RowsSent:
    """Rows of one table that have changed. `old` where the log has it; `new` unless the row is gone."""

    inserted: Flags
    old: ValuesSent
    new: ValuesSent


def rows_sent(messages: Messages, at: Places, columns: int, wanted: Sequence[int]) -> RowsSent:
    """Return what messages say of rows of a table with so many columns, known by `relations`.

    Raises: PermanentError.
    """
    with _understood():
        data = np.frombuffer(messages.data, np.uint8)
        starts, ends = messages.starts[at], messages.starts[at + 1]
        places = starts + _BEHIND_RELATION
        rows = []
        for had in (np.isin(data[places], _OLD), None):
            found = ValuesSent.none(messages.data, len(wanted), len(at))
            chosen = np.flatnonzero(places < ends if had is None else had)
            if had is None and (data[places[chosen]] != _NEW).any():
                raise ValueError("a row is neither old nor new")
            places[chosen] = _walked(data, places[chosen] + 1, columns, wanted, found, chosen)
            rows.append(found)
        if (places != ends).any():
            raise ValueError("a row has another length than its values")
        return RowsSent(data[starts] == _INSERT, *rows)


def _walked(
    data: Bytes, at: Places, columns: int, wanted: Sequence[int], into: ValuesSent, rows: Places
) -> Places:
    """Note where the values of rows stand, from `at` on; return where they end."""
    if (_numbers(data, at, _SHORT) != columns).any():
        raise ValueError("a row has other columns than its table")
    kept, at = {column: number for number, column in enumerate(wanted)}, at + 2
    for column in range(columns):
        kinds = data[at]
        texts = np.flatnonzero(kinds == TEXT)
        starts = at + 1
        ends = starts.copy()
        if len(texts) < len(kinds) and not np.isin(kinds, (TEXT, NULL, TOAST)).all():
            raise ValueError("a value is neither a text nor null")
        starts[texts] += 4
        ends[texts] = starts[texts] + _numbers(data, ends[texts], _LONG)
        if (number := kept.get(column)) is not None:
            into.kinds[number, rows], into.starts[number, rows], into.ends[number, rows] = kinds, starts, ends
        at = ends
    return at


def _numbers(data: Bytes, at: Places, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    found: npt.NDArray[Any] = data[at[:, None] + np.arange(kind.itemsize)].view(kind)[:, 0]
    return found


def decoded(data: bytes) -> Message:
    """Return what a message says that isn't of a row; None: nothing that matters. Raises: PermanentError."""
    with _understood():
        return _decoded(data)


@contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except (struct.error, IndexError, UnicodeDecodeError, ValueError) as error:
        raise PermanentError(
            f"source: a message of the log can't be understood ({error}); report this as a bug"
        ) from error


def _decoded(data: bytes) -> Message:
    kind = data[:1]
    match kind:
        case b"B":
            commit, _, xid = struct.unpack(">qqI", data[1:])
            return Begin(commit, xid)
        case b"C":
            _, _, end, at_us = struct.unpack(">bqqq", data[1:])
            return Commit(end, EPOCH_S + at_us / 1e6)
        case b"R":
            return _relation(data)
        case b"T":
            count, _ = struct.unpack_from(">ib", data, 1)
            return Truncated(struct.unpack(f">{count}I", data[6:]))
    if kind in _IGNORED and kind:
        return None
    raise ValueError(f"its kind is {kind!r}")


def _relation(data: bytes) -> RelationSent:
    (oid,) = struct.unpack_from(">I", data, 1)
    schema, at = _name(data, 5)
    name, at = _name(data, at)
    identity = chr(data[at])
    (count,) = struct.unpack_from(">h", data, at + 1)
    at += 3
    columns, key = [], set()
    for _ in range(count):
        flags = data[at]
        column, at = _name(data, at + 1)
        at += 8  # type and typmod: what is read now has them
        columns.append(column)
        if flags & 1:
            key.add(column)
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes are left")
    return RelationSent(oid, f"{schema or 'pg_catalog'}.{name}", identity, tuple(columns), frozenset(key))


def _name(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].decode(), end + 1
