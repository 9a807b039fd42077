"""Messages of PostgreSQL's own decoding plugin: what one row of a peek says. Pure.

Invariant: every byte of a message is accounted for; what isn't understood is an error, never left out.
Source: PostgreSQL documentation, "Logical Replication Message Formats", protocol version 1.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from engine.errors import PermanentError


class Unchanged(Enum):
    """What stands in place of a value that is stored apart from its row and wasn't touched."""

    TOAST = "unchanged"


EPOCH_S = 946_684_800
"""2000-01-01, from which PostgreSQL counts, in seconds since 1970."""

Value: TypeAlias = str | Unchanged | None
"""A column's text as the server prints it, or null."""


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
class RowSent:
    """A row has changed. `old` where the log has it; `new` unless the row is gone."""

    relation: int
    inserted: bool
    old: Sequence[Value] | None
    new: Sequence[Value] | None


@dataclass(frozen=True, slots=True)
class Truncated:
    """Tables were emptied."""

    relations: tuple[int, ...]


Message: TypeAlias = Begin | Commit | RelationSent | RowSent | Truncated | None

_IGNORED = b"YOM"
"""Types, origins and messages of applications: rows come as text, whatever their type and origin."""


def decoded(data: bytes) -> Message:
    """Return what a message says; None: nothing that matters. Raises: PermanentError."""
    try:
        return _decoded(data)
    except (struct.error, IndexError, UnicodeDecodeError, ValueError) as error:
        raise PermanentError(
            f"source: a message of the log can't be understood ({error}); report this as a bug"
        ) from error


def _decoded(data: bytes) -> Message:
    kind = data[:1]
    match kind:
        case b"I" | b"U" | b"D":
            return _changed(data)
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


def _changed(data: bytes) -> RowSent:
    (relation,) = struct.unpack_from(">I", data, 1)
    old = new = None
    at = 5
    while at < len(data):
        which = data[at : at + 1]
        values, at = _tuple(data, at + 1)
        match which:
            case b"K" | b"O":
                old = values
            case b"N":
                new = values
            case _:
                raise ValueError(f"a row is {which!r}")
    return RowSent(relation, data[:1] == b"I", old, new)


def _tuple(data: bytes, at: int) -> tuple[list[Value], int]:
    (count,) = struct.unpack_from(">h", data, at)
    at += 2
    values: list[Value] = []
    for _ in range(count):
        kind = data[at]
        at += 1
        if kind == 0x74:  # t: a text follows
            (size,) = struct.unpack_from(">i", data, at)
            at += 4
            if at + size > len(data):
                raise ValueError("a value is cut off")
            values.append(data[at : at + size].decode())
            at += size
        elif kind == 0x6E:  # n: null
            values.append(None)
        elif kind == 0x75:  # u: unchanged
            values.append(Unchanged.TOAST)
        else:
            raise ValueError(f"a value is {chr(kind)!r}")
    return values, at


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
