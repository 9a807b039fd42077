"""What PostgreSQL's log says, taken apart and gathered: messages, parts, snapshots. No server."""

import struct
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from connectors.postgres import pgoutput
from connectors.postgres.embed import Element
from connectors.postgres.gathering import Gathering, LogPart
from connectors.postgres.logged import Logged, LoggedTable
from connectors.postgres.pgoutput import (
    EPOCH_S,
    TOAST,
    Begin,
    Commit,
    Messages,
    RelationSent,
    Truncated,
    ValuesSent,
    decoded,
    rows_sent,
)
from connectors.postgres.slot_reading import Peeked
from connectors.postgres.snapshots import Snapshot
from connectors.postgres.sql import KeyColumn
from engine.batch import Cursor
from engine.contracts.feed import LogPlace
from engine.errors import PermanentError

T, C = 100, 200
UNCHANGED = b"u"


def row(*values: str | bytes | None) -> bytes:
    made = struct.pack(">h", len(values))
    for value in values:
        if value is None:
            made += b"n"
        elif isinstance(value, bytes):
            made += value
        else:
            made += b"t" + struct.pack(">i", len(value.encode())) + value.encode()
    return made


def began(commit: int, xid: int) -> bytes:
    return b"B" + struct.pack(">qqI", commit, 0, xid)


def ended(end: int) -> bytes:
    return b"C" + struct.pack(">bqqq", 0, end - 8, end, 0)


def relation(oid: int, identity: str, **columns: bool) -> bytes:
    made = (
        b"R" + struct.pack(">I", oid) + b"public\0t\0" + identity.encode() + struct.pack(">h", len(columns))
    )
    for name, is_key in columns.items():
        made += bytes([is_key]) + name.encode() + b"\0" + struct.pack(">Ii", 25, -1)
    return made


def inserted(oid: int, *new: str | bytes | None) -> bytes:
    return b"I" + struct.pack(">I", oid) + b"N" + row(*new)


def updated(oid: int, *new: str | bytes | None, old: bytes | None = None, kind: bytes = b"O") -> bytes:
    return b"U" + struct.pack(">I", oid) + (b"" if old is None else kind + old) + b"N" + row(*new)


def deleted(oid: int, old: bytes, kind: bytes = b"K") -> bytes:
    return b"D" + struct.pack(">I", oid) + kind + old


def test_each_message_says_what_it_says() -> None:
    assert decoded(began(7, 3)) == Begin(7, 3)
    assert decoded(ended(99)) == Commit(99, EPOCH_S)
    assert decoded(relation(T, "d", id=True, v=False)) == RelationSent(
        T, "public.t", "d", ("id", "v"), frozenset({"id"})
    )
    assert decoded(b"T" + struct.pack(">ib", 2, 0) + struct.pack(">2I", T, C)) == Truncated((T, C))
    assert decoded(b"Y" + b"type") is None
    assert decoded(b"O" + b"origin") is None


def together(*messages: bytes) -> Messages:
    return Messages.of(b"".join(messages), np.array(list(map(len, messages)), np.uint32))


def told(values: ValuesSent) -> list[Sequence[str | None] | None]:
    """Return each row, None where it isn't there, and "u" for what wasn't sent."""
    columns = [
        ["u" if kind == TOAST else text for kind, text in zip(kinds, texts, strict=True)]
        for kinds, texts in zip(values.kinds, values.texts(range(len(values.kinds))), strict=True)
    ]
    there = set(values.there.tolist())
    return [each if at in there else None for at, each in enumerate(zip(*columns, strict=True))]


def test_rows_that_are_read_together_say_what_each_says() -> None:
    rows = rows_sent(
        together(
            began(7, 3),
            inserted(T, "1", None, "ä"),
            updated(T, "2", UNCHANGED, "", old=row("1", "x" * 300, None)),
            updated(T, "3", "y", "z"),
            deleted(T, row("4", None, None)),
        ),
        np.arange(1, 5),
        columns=3,
        wanted=(2, 0, 1),
    )
    assert rows.inserted.tolist() == [True, False, False, False]
    assert told(rows.old) == [None, (None, "1", "x" * 300), None, (None, "4", None)]
    assert told(rows.new) == [("ä", "1", None), ("", "2", "u"), ("z", "3", "y"), None]


@pytest.mark.parametrize(
    "data",
    [
        inserted(T, "one")[:-1],
        inserted(T, "one") + b"t",
        inserted(T, "one", "two"),
        inserted(T),
        b"I" + struct.pack(">I", T),
        b"I" + struct.pack(">H", T),
        b"I" + struct.pack(">I", T) + b"X" + row("1"),
        b"I" + struct.pack(">I", T) + b"N" + struct.pack(">h", 1) + b"b" + struct.pack(">i", 0),
        b"I" + struct.pack(">I", T) + b"N" + struct.pack(">hci", 1, b"t", -1),
        b"I" + struct.pack(">I", T) + b"N" + struct.pack(">hci", 1, b"t", 1) + b"\xff",
    ],
)
@pytest.mark.parametrize("behind", [(), (inserted(T, "2"), inserted(T, "3"))])
def test_a_row_that_is_not_understood_is_an_error_whatever_follows(
    data: bytes, behind: tuple[bytes, ...]
) -> None:
    table = LoggedTable(T, "public", "t", "r", False, ("id",), ("id",), "source.table")
    gathering = Gathering(Logged((table,), (("id", "int4"),), frozenset()), 0, 10, 10)
    with pytest.raises(PermanentError, match="can't be understood"):
        gathering.take(together(relation(T, "f", id=True), data, *behind))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"?",
        relation(T, "d", id=True) + b"\0",
        b"B\0",
    ],
)
def test_what_is_not_understood_is_an_error(data: bytes) -> None:
    with pytest.raises(PermanentError, match="can't be understood"):
        decoded(data)


OWN = LoggedTable(T, "public", "t", "r", False, ("id", "v"), ("id",), "source.table")
CHILD = LoggedTable(
    C, "public", "c", "r", False, ("t_id",), ("t_id",), "source.embed.c.table",
    (KeyColumn("id", "t.id", "integer", "int4", nullable=True),),
)  # fmt: skip
TABLES = Logged((OWN, CHILD), (("id", "int4"), ("v", "text")), frozenset({"c"}))
FULL = relation(T, "f", id=True, v=True)


def gathered(
    *messages: bytes, position: int = 0, rows_max: int = 1_000, at_once: int = 1_000
) -> list[LogPart]:
    gathering = Gathering(TABLES, position, rows_max, 1_000_000)
    chunks = [together(*messages[at : at + at_once]) for at in range(0, len(messages), at_once)]
    parts = [part for part in map(gathering.take, chunks) if part is not None]
    return [*parts, gathering.rest()]


def test_an_insert_has_no_row_before_it_and_others_have() -> None:
    (part,) = gathered(
        began(10, 5),
        FULL,
        inserted(T, "1", "a"),
        updated(T, "3", UNCHANGED, old=row("2", "b")),
        deleted(T, row("4", "d"), b"O"),
        ended(20),
    )
    assert list(part.old) == [("2", "b"), ("4", "d")]
    assert set(part.keys) == {Cursor((n,)) for n in ("1", "3", "2", "4")}
    assert (part.xids, part.position) == (frozenset({5}), 20)


def test_an_update_that_leaves_the_identity_tells_of_the_old_row_by_the_new_one() -> None:
    (part,) = gathered(began(10, 5), relation(T, "i", id=True, v=True), updated(T, "1", "a"), ended(20))
    assert list(part.old) == [("1", "a")]


def test_children_lead_to_both_parents() -> None:
    (part,) = gathered(
        began(10, 5), relation(C, "d", t_id=True), updated(C, "2", old=row("1"), kind=b"K"), inserted(C, None)
    )
    assert {number: set(leads) for number, leads in part.leads.items()} == {1: {("1",), ("2",)}}
    assert not part.old


def test_children_that_give_keys_are_kept_as_they_were_where_they_belonged_to_a_row() -> None:
    gives = replace(CHILD, needed=("t_id", "n"), element=Element("c", "", "c", ()))
    gathering = Gathering(replace(TABLES, tables=(OWN, gives)), 0, 1_000, 1_000_000)
    of_child = relation(C, "f", t_id=True, n=True)
    messages = deleted(C, row("1", "a")), deleted(C, row(None, "b")), updated(C, "2", "c", old=row("1", "c"))
    assert gathering.take(together(began(10, 5), of_child, *messages, inserted(C, "3", "d"))) is None
    assert gathering.rest().elements == {1: [("1", "a"), ("1", "c")]}
    assert gathering.take(together(deleted(C, row(None, "b")))) is None
    assert not gathering.rest().elements


def test_what_was_committed_before_the_position_is_passed_over() -> None:
    (part,) = gathered(
        began(10, 5), FULL, inserted(T, "1", "a"), ended(20), began(20, 6), inserted(T, "2", "b"), ended(30),
        position=20,
    )  # fmt: skip
    assert list(part.keys) == [Cursor(("2",))]
    assert part.position == 30


def test_a_part_in_the_middle_of_a_transaction_stands_before_it() -> None:
    first, second = gathered(
        began(10, 5), FULL, inserted(T, "1", "a"), ended(20),
        began(30, 6), *(inserted(T, str(n), "a") for n in range(2, 6)), ended(40),
        rows_max=4, at_once=1,
    )  # fmt: skip
    assert (len(first.keys), first.position) == (4, 20)
    assert (len(second.keys), second.position) == (1, 40)


def test_rows_of_one_table_are_taken_apart_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work is a step for each column of a chunk, whatever it holds, and not one for each value."""
    steps, walked = [], pgoutput._walked
    monkeypatch.setattr(pgoutput, "_walked", lambda *given: steps.append(len(given[1])) or walked(*given))
    (part,) = gathered(
        began(10, 5), FULL, *(updated(T, str(n), "b", old=row(str(n), "a")) for n in range(400)), ended(20),
        began(30, 6), *(updated(T, str(n), "b", old=row(str(n), "a")) for n in range(400, 500)), ended(40),
        rows_max=10_000,
    )  # fmt: skip
    assert (len(part.keys), len(part.old)) == (500, 500)
    assert steps == [500, 500], "old rows, then new ones"


@pytest.mark.parametrize("at_once", [1, 2, 5, 1_000])
def test_what_is_taken_together_says_what_it_says_message_by_message(at_once: int) -> None:
    (part,) = gathered(
        began(10, 5), FULL, inserted(T, "1", "a"), ended(20),
        began(15, 4), inserted(T, "9", "of a transaction that was read"), ended(18),
        began(30, 6), relation(C, "d", t_id=True, x=False), updated(C, "2", None, old=row("7", None)),
        updated(T, "1", "b", old=row("1", "a")), inserted(300, "a table of others"),
        relation(T, "f", v=True, id=True, w=True), deleted(T, row("b", "1", "w"), b"O"), ended(40),
        began(50, 7), b"O" + b"origin", ended(60),
        position=19, at_once=at_once,
    )  # fmt: skip
    assert list(part.old) == [("1", "a"), ("1", "b")]
    assert (set(part.keys), part.position) == ({Cursor(("1",))}, 60)
    assert {number: set(leads) for number, leads in part.leads.items()} == {1: {("2",), ("7",)}}
    assert part.xids == frozenset({6}), "what was committed before the position is passed over"


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ((relation(T, "d", id=True, v=False),), "the log told no v"),
        ((relation(T, "f", id=True, w=True),), "the log told no v"),
        ((FULL, updated(T, "1", UNCHANGED)), "REPLICA IDENTITY FULL"),
        ((b"T" + struct.pack(">ib", 1, 0) + struct.pack(">I", T),), "public.t was truncated"),
    ],
)
def test_what_the_log_cannot_tell_ends_the_reading(messages: tuple[bytes, ...], said: str) -> None:
    with pytest.raises(PermanentError, match=said):
        gathered(began(10, 5), *messages)


def test_a_partitions_identity_is_looked_up_and_not_taken_from_its_root() -> None:
    gathering = Gathering(replace(TABLES, tables=(replace(OWN, kind="p"),)), 0, 10, 10)
    assert gathering.take(together(relation(T, "d", id=True, v=False))) is None


@pytest.mark.parametrize(
    ("text", "xid", "seen"),
    [
        ("10:20:10,14", 9, True),
        ("10:20:10,14", 10, False),
        ("10:20:10,14", 11, True),
        ("10:20:10,14", 20, False),
        ("10:20:10,14", 25, False),
        (f"{(1 << 32) + 5}:{(1 << 32) + 5}:", (1 << 32) - 1, True),  # of the epoch before
        (f"{(1 << 32) - 5}:{(1 << 32) - 5}:", 3, False),  # of the one that begins
        (f"{(1 << 32) + 5}:{(1 << 32) + 9}:{(1 << 32) + 7}", 7, False),
    ],
)
def test_a_snapshot_sees_what_has_ended_before_it(text: str, xid: int, seen: bool) -> None:
    assert Snapshot.read(text).sees(xid) is seen


def test_a_place_in_a_log_is_read_back_from_its_cursor_and_from_a_segments_bound() -> None:
    place = LogPlace("0/1A", 3, "2026-01-02T03:04:05.678Z")
    assert LogPlace.of(place.cursor()) == place
    assert LogPlace.of(Cursor(("0/1A",))) == LogPlace("0/1A")
    assert LogPlace.of(LogPlace("0/1A", 2).cursor()) == LogPlace("0/1A", 2)


def test_what_a_peek_gave_comes_back_from_memory_and_from_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.postgres.slot_reading.SPOOL_BYTES", 100)
    peeked = Peeked()
    chunks = [[b"a", b"", b"b" * 200], [b"c"]]
    for chunk in chunks:
        peeked.take(chunk)
    given = [[messages[at] for at in range(len(messages))] for messages in peeked.chunks()]
    assert (given, peeked.count) == (chunks, 4)
    peeked.close()
