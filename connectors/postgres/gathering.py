"""From a log's messages to what is looked up: rows as they were, keys, what leads to parents. Pure.

Invariant: what every change of a table that matters was about is in some part, and no part's position is
behind a transaction of which a later part tells.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from itertools import pairwise
from typing import cast

import numpy as np

from connectors.postgres.logged import Logged, LoggedTable, Texts
from connectors.postgres.pgoutput import (
    TOAST,
    Begin,
    Commit,
    Message,
    Messages,
    RelationSent,
    RowsSent,
    Truncated,
    decoded,
    rows_sent,
)
from connectors.postgres.publishing import MISSED
from engine.batch import Cursor
from engine.errors import PermanentError
from engine.frozen import dataclass


@dataclass(frozen=True, slots=True)
class LogPart:
    """Changes that are looked up together.

    Shape: `old` in the order of the table's `needed`; `leads` by the place of the children's table among the
    job's, and so `elements`: children as they were, where these give keys. `xids` of their transactions,
    without epochs. `position`: all before it is in this part or in an earlier one, and so is what was
    committed before `at_s`. Units: seconds since 1970; 0 is not known.
    """

    position: int
    at_s: float
    old: Sequence[Texts]
    keys: Sequence[Cursor]
    leads: Mapping[int, Sequence[Texts]]
    xids: frozenset[int]
    elements: Mapping[int, Sequence[Texts]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.old) + len(self.keys) + sum(map(len, self.leads.values()))


@dataclass(frozen=True, slots=True)
class _Form:
    """Where the columns that matter stand in the rows of a table, from a Relation message on."""

    number: int
    """The table's place among the job's."""
    table: LoggedTable
    columns: int
    """How many columns its rows have."""
    needed: tuple[int, ...]
    key: tuple[int, ...]
    """Places in what is needed."""


@dataclass(slots=True)
class Gathering:
    """Takes a log's messages and gives parts. What is committed before `position` is passed over.

    `rows_max` and `bytes_max`: with so much a part is full, and what was taken with it is in it.
    """

    tables: Logged
    position: int
    rows_max: int
    bytes_max: int
    at_s: float = 0.0
    _forms: dict[int, list[_Form]] = field(default_factory=dict)
    _old: dict[Texts, None] = field(default_factory=dict)
    _keys: dict[Texts, None] = field(default_factory=dict)
    _leads: dict[int, dict[Texts, None]] = field(default_factory=dict)
    _elements: dict[int, dict[Texts, None]] = field(default_factory=dict)
    _xids: set[int] = field(default_factory=set)
    _xid: int = 0
    _passed: bool = False
    _bytes: int = 0

    def take(self, messages: Messages) -> LogPart | None:
        """Take the next messages; return a part once there is enough for one. Raises: PermanentError."""
        others = np.flatnonzero(~messages.are_rows).tolist()
        rows: list[tuple[int, int, int]] = []
        for before, at in pairwise([-1, *others, len(messages)]):
            if before >= 0:
                message = decoded(messages[before])
                if isinstance(message, RelationSent | Truncated):
                    self._changed(messages, rows)
                    rows = []
                self._hear(message)
            if at - before > 1 and not self._passed:
                rows.append((before + 1, at, self._xid))
        self._changed(messages, rows)
        full = len(self._old) + len(self._keys) >= self.rows_max or self._bytes >= self.bytes_max
        children = sum(map(len, (*self._leads.values(), *self._elements.values())))
        return self.rest() if full or children >= self.rows_max else None

    def _hear(self, message: Message) -> None:
        match message:
            case Begin(commit, xid):
                self._xid, self._passed = xid, commit < self.position
            case Commit(end, at_s):
                self.reach(end, at_s)
            case RelationSent():
                self._relate(message)
            case Truncated():
                self._truncated(message)

    def reach(self, position: int, at_s: float) -> None:
        """Take in that all before a position was taken, and so was what had been committed by then."""
        self.position, self.at_s = max(self.position, position), max(self.at_s, at_s)

    def rest(self) -> LogPart:
        """Return what is left as a part, which may be empty."""
        part = LogPart(
            self.position,
            self.at_s,
            tuple(self._old),
            tuple(Cursor(_known(key)) for key in self._keys),
            {oid: tuple(leads) for oid, leads in self._leads.items()},
            frozenset(self._xids),
            {
                n: found
                for n, gone in self._elements.items()
                if (found := _of_rows(self.tables.tables[n], gone))
            },
        )
        self._old, self._keys, self._leads, self._xids, self._bytes = {}, {}, {}, set(), 0
        self._elements = {}
        return part

    def _changed(self, messages: Messages, spans: Sequence[tuple[int, int, int]]) -> None:
        """Note changed rows: from and up to which message, and whose transaction's."""
        if not spans:
            return
        at = np.concatenate([np.arange(first, end) for first, end, _ in spans])
        xids = np.repeat([xid for _, _, xid in spans], [end - first for first, end, _ in spans])
        relations = messages.relations(at)
        for relation, forms in self._forms.items():
            mine = relations == relation
            if not forms or not mine.any():
                continue
            self._xids.update(np.unique(xids[mine]).tolist())
            for form in forms:
                self._note(form, rows_sent(messages, at[mine], form.columns, form.needed))

    def _note(self, form: _Form, rows: RowsSent) -> None:
        new = rows.new.completed(rows.old)
        new = new.taken(new.there)
        # An update of which the identity stays as it is has no old row: what is needed stays, too.
        old = rows.old.or_else(rows.new).taken(np.flatnonzero(~rows.inserted))
        if (new.kinds == TOAST).any() or (old.kinds == TOAST).any():
            raise _left_out(form.table)
        self._look_up(form, zip(*new.texts(form.key), strict=True))
        columns = old.texts(range(len(form.needed)))
        self._look_up(form, zip(*(columns[at] for at in form.key), strict=True))
        was = self._old
        if form.table.parents:
            if form.table.element is None:
                return  # keys are made of none of these children
            was = self._elements.setdefault(form.number, {})
        for texts, size in zip(zip(*columns, strict=True), old.sizes.tolist(), strict=True):
            if texts not in was:
                was[texts] = None
                self._bytes += size

    def _look_up(self, form: _Form, keys: Iterable[Texts]) -> None:
        if form.table.parents:  # a child may have none
            leads = dict.fromkeys(key for key in keys if None not in key)
            if leads:
                self._leads.setdefault(form.number, {}).update(leads)
        else:
            self._keys.update(dict.fromkeys(keys))

    def _relate(self, relation: RelationSent) -> None:
        self._forms[relation.oid] = []
        for number, table in enumerate(self.tables.tables):
            if table.oid != relation.oid:
                continue
            missing = [name for name in table.needed if name not in relation.columns]
            blind = relation.identity != "f" and [name for name in table.needed if name not in relation.key]
            if missing or (blind and table.kind == "r"):
                raise PermanentError(
                    f"source: when rows of {table.called} were changed, the log told no"
                    f" {', '.join(missing or blind or ())} of them, of which item keys are made: the table or"
                    f" its REPLICA IDENTITY was altered since; {MISSED}"
                )
            places = {name: at for at, name in enumerate(relation.columns)}
            self._forms[relation.oid].append(
                _Form(
                    number,
                    table,
                    len(relation.columns),
                    tuple(places[name] for name in table.needed),
                    tuple(table.needed.index(name) for name in table.key),
                )
            )

    def _truncated(self, truncated: Truncated) -> None:
        for table in self.tables.tables:
            if table.oid in truncated.relations and not self._passed:
                raise PermanentError(
                    f"source: {table.called} was truncated, and the log doesn't tell which rows were in it;"
                    " load everything again with --fresh, then remove what is left over with `backfill verify"
                    " JOB --full --repair --delete-extra`"
                )


def _left_out(table: LoggedTable) -> PermanentError:
    return PermanentError(
        f"source: the log left out values of {', '.join(table.needed)} of {table.called} that are stored"
        f" apart; ALTER TABLE {table.written} REPLICA IDENTITY FULL, and {MISSED}"
    )


def _known(key: Texts) -> tuple[str, ...]:
    assert None not in key, "a key holds no null"
    return cast("tuple[str, ...]", key)


def _of_rows(child: LoggedTable, gone: Iterable[Texts]) -> Sequence[Texts]:
    """Return the children that belonged to a row; one that did to none was no element."""
    return [texts for texts in gone if None not in texts[: len(child.key)]]
