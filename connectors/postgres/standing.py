"""What a run began with: the server, the relations that it reads, and what its positions are values of. Pure.

Invariant: two standings that fit tell of one source; what can't be told apart for sure counts as changed.
What changes nothing that is read passes: rewritten storage with the old rows in it, wider types, new columns,
new partitions, new enum values, a restart, a promoted standby.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import compress

from engine.frozen import dataclass

_INTEGERS = {"int2": 2, "int4": 4, "int8": 8}
_TEXTS = ("varchar", "text")
_HEADER = 4
"""What is added to the length of a varchar, and to precision and scale of a numeric, in its typmod.

Source: PostgreSQL, src/include/c.h, VARHDRSZ.
"""


@dataclass(frozen=True, slots=True)
class ColumnFact:
    """One column of a relation. `type`: the name of a type of pg_catalog, else its OID as text."""

    name: str
    number: int
    type: str
    typmod: int
    collation: int
    labels: tuple[str, ...] = ()
    """What its type's name doesn't tell: values of enums in their order, attributes of composites. Those of
    arrays, domains, ranges and composites that are made of them, too."""


@dataclass(frozen=True, slots=True)
class RelationFact:
    """One relation that the source's statement reads, directly or below a view or a parent.

    `name` as SQL writes it, with its schema. `storage` is the file node, None where there is none; `filled`:
    there were pages in it; `definition` a view's digest; `child`: a partition or inheriting table, whose
    columns are its parent's; `logged`: its rows outlive a crash of the server.
    """

    oid: int
    name: str
    kind: str
    storage: int | None
    filled: bool
    definition: str | None
    child: bool
    columns: tuple[ColumnFact, ...] = ()
    logged: bool = True


@dataclass(frozen=True, slots=True)
class Standing:
    """The source as it was at one moment.

    Units: `position` in bytes of WAL, 0 where the server doesn't tell; `horizon` the 64-bit id of the oldest
    transaction whose rows may not have been there yet. `orders`: each collation that the key is sorted by,
    with its library's version.
    """

    server: str
    database: int
    standby: bool
    position: int
    horizon: int
    relations: tuple[RelationFact, ...]
    orders: tuple[tuple[str, str], ...]

    @property
    def children(self) -> frozenset[tuple[int, bool]]:
        """Which partitions there are, and whether there were pages in each."""
        return frozenset((relation.oid, relation.filled) for relation in self.relations if relation.child)

    def without_gone(self, now: "Standing") -> "Standing":
        """Return it without the partitions that are gone: whether that matters, `untold` says."""
        there = {relation.oid for relation in now.relations}
        left = (each for each in self.relations if not each.child or each.oid in there)
        return replace(self, relations=tuple(left))


@dataclass(frozen=True, slots=True)
class Behind:
    """The server hasn't got as far as it was seen: for a standby that may pass."""

    text: str


@dataclass(frozen=True, slots=True)
class Changed:
    """The source isn't the one that the run began with."""

    text: str


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Relations that may have been emptied, which their rows tell: other storage, or what a crash empties."""

    relations: tuple[RelationFact, ...]


def judge(before: Standing, now: Standing, *, goes_on: bool = True) -> Behind | Changed | Rewritten | None:
    """Say what stands between two standings; None: nothing that matters.

    `goes_on`: positions and rows of before are gone on from. A catch-up run after a whole one isn't bothered
    by rows that went away, nor by columns that give other values from now on.
    """
    if (before.server, before.database) != (now.server, now.database):
        return Changed("another server or database answers at this address")
    if 0 < now.position < before.position or now.horizon < before.horizon:
        behind = (
            f"the server is in an older state than the run has seen (WAL {_lsn(now.position)}, was"
            f" {_lsn(before.position)}; transaction {now.horizon}, was {before.horizon})"
        )
        if now.standby:
            return Behind(f"{behind}: this standby lags behind")
        return Changed(f"{behind}: it was restored from a backup, or a failover lost what was committed")
    if (change := next(_changes(before, now, goes_on=goes_on), None)) is not None:
        return Changed(change)
    if not goes_on:
        return None
    known = {relation.oid: relation for relation in now.relations}
    widened = {each.oid for each in before.relations if _is_written_anew(each, known[each.oid])}
    rewritten = tuple(
        relation
        for relation in before.relations
        if relation.filled
        and relation.oid not in widened
        and not (relation.child and widened)  # its columns are its parent's
        and (relation.storage != known[relation.oid].storage or not relation.logged)
    )
    return Rewritten(rewritten) if rewritten else None


def _changes(before: Standing, now: Standing, *, goes_on: bool) -> Iterator[str]:
    known = {relation.oid: relation for relation in now.relations}
    for relation in before.relations:
        found = known.get(relation.oid)
        if found is None and (goes_on or not relation.child):
            was = "was dropped or detached" if relation.child else "was dropped or another took its name"
            yield f"{relation.name} {was}"
        if found is None:
            continue
        if found.definition != relation.definition:
            yield f"the view {relation.name} was redefined"
        if goes_on and found.kind != relation.kind:
            yield f"{relation.name} is a relation of another kind now"
        if goes_on:
            yield from _column_changes(relation, found)
    versions = dict(now.orders)
    for name, version in before.orders:
        if goes_on and name in versions and versions[name] != version:
            yield (
                f"the collation {name}, by which the key is sorted, has version {versions[name]}, and had"
                f" {version}, so positions mean other places"
            )


def retold(before: Standing, now: Standing, statement: str) -> str | None:
    """Say which column that a statement reads gives other values now, of rows that nobody has touched.

    Partitions have their parent's columns. One that is gone changes the shape of items, which is told there.
    """
    known = {relation.oid: relation for relation in now.relations}
    for relation in before.relations:
        found = known.get(relation.oid)
        if found is None or relation.child:
            continue
        read = tuple(column for column in relation.columns if _is_named(column.name, statement))
        changes = _column_changes(replace(relation, columns=read), found, in_order=False)
        if (change := next(changes, None)) is not None:
            return change
    return None


def _is_named(column: str, statement: str) -> bool:
    """Say whether a statement may name a column: in doubt it does."""
    return column.replace('"', '""').lower() in statement.lower()


def _column_changes(before: RelationFact, now: RelationFact, *, in_order: bool = True) -> Iterator[str]:
    """Yield what became of columns that are there; one that is missing fails the statement if it is read.

    `in_order`: how a column sorts matters.
    """
    columns = {column.name: column for column in now.columns}
    for column in before.columns:
        found = columns.get(column.name)
        if found is None:
            continue
        place = f"column {column.name} of {before.name}"
        if found.number != column.number:
            yield f"{place} is another column of that name now"
        elif not _is_wider(column, found):
            yield f"{place} has another type now"
        elif in_order and found.collation != column.collation:
            yield f"{place} has another collation now"
        elif not is_within(column.labels, found.labels):
            yield (
                f"{place}: values of its enum type, or attributes of its composite type, were renamed or put"
                " in another order"
            )


def _is_wider(before: ColumnFact, now: ColumnFact) -> bool:
    """Say whether values of before print and sort alike now."""
    if (before.type, before.typmod) == (now.type, now.typmod):
        return True
    if before.type in _INTEGERS and now.type in _INTEGERS:
        return _INTEGERS[before.type] <= _INTEGERS[now.type]
    if before.type in _TEXTS and now.type in _TEXTS:
        return now.typmod == -1 or (before.typmod != -1 and before.typmod <= now.typmod)
    if before.type == now.type == "numeric":
        return before.typmod != -1 and now.typmod != -1 and _is_wider_numeric(before.typmod, now.typmod)
    return False


def _is_wider_numeric(before: int, now: int) -> bool:
    """Compare numeric(precision, scale).

    Source: PostgreSQL, src/backend/utils/adt/numeric.c, make_numeric_typmod.
    """
    was, is_now = before - _HEADER, now - _HEADER
    return was & 0xFFFF == is_now & 0xFFFF and was >> 16 <= is_now >> 16


def is_within(before: Sequence[str], now: Sequence[str]) -> bool:
    """Say whether all values of before are there, in their order."""
    later = iter(now)
    return all(label in later for label in before)


def explains_storage(before: RelationFact, now: RelationFact) -> bool:
    """Say whether what has changed of a relation's columns writes rows anew that say the same as before.

    A new column may do so, by a default that isn't the same for all rows.
    """
    known = {column.number for column in before.columns}
    return _is_written_anew(before, now) or any(column.number not in known for column in now.columns)


def as_before(before: RelationFact, now: RelationFact) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the columns that have the type that they had, and of those that haven't."""
    types = {column.number: (column.type, column.typmod) for column in before.columns}
    same = [types.get(column.number) == (column.type, column.typmod) for column in now.columns]
    names = [column.name for column in now.columns]
    return tuple(compress(names, same)), tuple(compress(names, (not each for each in same)))


def _is_written_anew(before: RelationFact, now: RelationFact) -> bool:
    """Say whether a wider integer wrote every row anew, so that none is as old as the run.

    Other types that pass keep the rows where they are.
    """
    types = {column.number: column.type for column in now.columns}
    return any(
        column.type in _INTEGERS and types.get(column.number, column.type) != column.type
        for column in before.columns
    )


def _lsn(position: int) -> str:
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
