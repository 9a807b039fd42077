"""From a log's messages to what is looked up: rows as they were, keys, what leads to parents. Pure.

Invariant: what every change of a table that matters was about is in some part, and no part's position is
behind a transaction of which a later part tells.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from connectors.postgres.logged import Logged, LoggedTable, Texts
from connectors.postgres.pgoutput import (
    Begin,
    Commit,
    RelationSent,
    RowSent,
    Truncated,
    Unchanged,
    Value,
    decoded,
)
from connectors.postgres.publishing import MISSED
from engine.batch import Cursor
from engine.errors import PermanentError


@dataclass(frozen=True, slots=True)
class LogPart:
    """Changes that are looked up together.

    Shape: `old` in the order of the table's `needed`; `leads` by the place of the children's table among the
    job's. `xids` of their transactions, without epochs. `position`: all before it is in this part or in an
    earlier one, and so is what was committed before `at_s`. Units: seconds since 1970; 0 is not known.
    """

    position: int
    at_s: float
    old: Sequence[Texts]
    keys: Sequence[Cursor]
    leads: Mapping[int, Sequence[Texts]]
    xids: frozenset[int]

    def __len__(self) -> int:
        return len(self.old) + len(self.keys) + sum(map(len, self.leads.values()))


@dataclass(frozen=True, slots=True)
class _Form:
    """Where the columns that matter stand in the rows of a table, from a Relation message on."""

    number: int
    """The table's place among the job's."""
    table: LoggedTable
    needed: tuple[int, ...]
    key: tuple[int, ...]
    """Places in what is needed."""


@dataclass(slots=True)
class Gathering:
    """Takes a log's messages and gives parts. What is committed before `position` is passed over."""

    tables: Logged
    position: int
    rows_max: int
    bytes_max: int
    at_s: float = 0.0
    _forms: dict[int, list[_Form]] = field(default_factory=dict)
    _old: dict[Texts, None] = field(default_factory=dict)
    _keys: dict[Texts, None] = field(default_factory=dict)
    _leads: dict[int, dict[Texts, None]] = field(default_factory=dict)
    _xids: set[int] = field(default_factory=set)
    _xid: int = 0
    _passed: bool = False
    _bytes: int = 0

    def take(self, data: bytes) -> LogPart | None:
        """Take the next message; return a part once there is enough for one. Raises: PermanentError."""
        match message := decoded(data):
            case RowSent():
                self._change(message)
            case Begin(commit, xid):
                self._xid, self._passed = xid, commit < self.position
            case Commit(end, at_s):
                self.reach(end, at_s)
            case RelationSent():
                self._relate(message)
            case Truncated():
                self._truncated(message)
        full = len(self._old) + len(self._keys) >= self.rows_max or self._bytes >= self.bytes_max
        leads = sum(map(len, self._leads.values()))
        return self.rest() if full or leads >= self.rows_max else None

    def reach(self, position: int, at_s: float) -> None:
        """Take in that all before a position was taken, and so was what had been committed by then."""
        self.position, self.at_s = max(self.position, position), max(self.at_s, at_s)

    def rest(self) -> LogPart:
        """Return what is left as a part, which may be empty."""
        part = LogPart(
            self.position,
            self.at_s,
            tuple(self._old),
            tuple(Cursor(tuple(_known(text) for text in texts)) for texts in self._keys),
            {oid: tuple(leads) for oid, leads in self._leads.items()},
            frozenset(self._xids),
        )
        self._old, self._keys, self._leads, self._xids, self._bytes = {}, {}, {}, set(), 0
        return part

    def _change(self, changed: RowSent) -> None:
        forms = self._forms.get(changed.relation)
        if forms is None or self._passed:
            return
        self._xids.add(self._xid)
        for form in forms:
            self._note(form, changed)

    def _note(self, form: _Form, changed: RowSent) -> None:
        new = None if changed.new is None else [changed.new[at] for at in form.needed]
        old = None if changed.old is None else [changed.old[at] for at in form.needed]
        if changed.new is not None and old is not None:
            new = [was if now is Unchanged.TOAST else now for was, now in zip(old, new or (), strict=True)]
        if new is not None:
            self._look_up(form, _whole(new, form.table))
        if not changed.inserted:
            # An update of which the identity stays as it is has no old row: what is needed stays, too.
            before = old if old is not None else new
            assert before is not None, "what isn't new was there"
            texts = _whole(before, form.table)
            self._look_up(form, texts)
            if not form.table.parents and texts not in self._old:
                self._old[texts] = None
                self._bytes += sum(len(text or "") for text in texts)

    def _look_up(self, form: _Form, texts: Texts) -> None:
        key = tuple(texts[at] for at in form.key)
        if not form.table.parents:
            self._keys[key] = None
        elif None not in key:  # a child without a parent
            self._leads.setdefault(form.number, {})[key] = None

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


def _whole(values: Sequence[Value], table: LoggedTable) -> Texts:
    """Return values as texts. Raises: PermanentError where the log left one out."""
    if Unchanged.TOAST in values:
        raise PermanentError(
            f"source: the log left out values of {', '.join(table.needed)} of {table.called} that are stored"
            f" apart; ALTER TABLE {table.written} REPLICA IDENTITY FULL, and {MISSED}"
        )
    return tuple(value for value in values if not isinstance(value, Unchanged))


def _known(text: str | None) -> str:
    assert text is not None, "a key holds no null"
    return text
