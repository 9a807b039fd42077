"""The statements that read one source: pure text from a Shape, a segment and a cursor.

Invariant: key values are compared by the server only, as values of their own types and collations, with the
operators that sort them. What is written here leaves no name to the role's search_path; the job's own SQL
means what it means to that role.
"""

# ruff: noqa: S608 - SQL is built here; every name and value in it goes through quoting.py

import re
from collections.abc import Iterable, Sequence

from connectors.postgres.quoting import identifier, literal, operator
from connectors.postgres.types import Node
from engine.batch import Cursor, Segment
from engine.frozen import dataclass

BOUNDARIES_SEED = 20_261
_OF_ERAS = ("date", "timestamp without time zone", "timestamp with time zone")
_BEFORE_OUR_ERA = re.compile(r"(-\d{4,}|0000)(-.*)", re.DOTALL)
"""Of ISO 8601, whose year 0000 is PostgreSQL's 1 BC; see canonical.py."""
GROUP_START = "is first"
"""Name of the extra column that tells where a new key begins; only where keys aren't proved unique."""


@dataclass(frozen=True, slots=True)
class ReadColumn:
    """A column of the batch: the SQL that the server prints it with, and how that text is read.

    `native`: values that print alike are equal by pg_catalog's `=`.
    """

    name: str
    sql: str
    node: Node
    native: bool = False

    @property
    def comparable(self) -> str:
        """SQL for what pg_catalog's `=` finds equal wherever values print alike: their text, if need be."""
        return self.sql if self.native else f"pg_catalog.format('%s', {self.sql}) COLLATE pg_catalog.\"C\""


@dataclass(frozen=True, slots=True)
class Operators:
    """What sorts the values of a type: the operators of its default btree class, as SQL names them."""

    below: str = operator("<")
    until: str = operator("<=")
    equal: str = operator("=")
    since: str = operator(">=")
    above: str = operator(">")


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """A column of the cursor. `cast`: its type as a literal needs it; `nullable`: it may hold nulls."""

    name: str
    sql: str
    type: str
    cast: str
    nullable: bool
    operators: Operators = Operators()


@dataclass(frozen=True, slots=True)
class Shape:
    """What the statements of one source are made of; picklable.

    `origin` is the FROM item; `samples`: it takes TABLESAMPLE; `key_unique`: no two rows share a key.
    `changed`: the filter that a catch-up run adds.
    Units: `pages` of 8 KB.
    """

    columns: tuple[ReadColumn, ...]
    origin: str
    samples: bool
    pages: int
    filters: tuple[str, ...]
    key: tuple[KeyColumn, ...]
    key_unique: bool
    changed: str | None = None

    @property
    def marks_groups(self) -> bool:
        """Whether rows carry GROUP_START."""
        return bool(self.key) and not self.key_unique

    def gives(self, before: "Shape") -> bool:
        """Say whether all that was read before is read now, in the same form.

        Types of keys may have grown wider; that no other type has come is the standing's affair.
        """
        return set(self.columns) >= set(before.columns) and self._places == before._places

    @property
    def _places(self) -> object:
        keys = [(key.name, key.sql) for key in self.key]
        return self.origin, self.filters, self.changed, keys, self.key_unique


def copy_sql(shape: Shape, segment: Segment, after: Cursor | None) -> str:
    """Return the SELECT of a segment's rows from behind `after`, in key order."""
    return _rows_sql(shape, range_sql(shape, segment, after))


def lookup_sql(shape: Shape, keys: Sequence[Cursor]) -> str:
    """Return the SELECT of the rows that have these keys, in key order."""
    assert shape.key, "rows without a key can't be looked up"
    return _rows_sql(shape, (one_of(shape, keys),))


def keys_sql(shape: Shape, segment: Segment, after: Cursor | None, count: int) -> str:
    """Return a query for the texts of a segment's next keys from behind `after`."""
    keys = ", ".join(f"{key.sql} AS k{n}" for n, key in enumerate(shape.key))
    texts = ", ".join(f"pg_catalog.format('%s', k{n})" for n in range(len(shape.key)))
    order = ", ".join(f"k{n}" for n in range(len(shape.key)))
    where = where_sql(shape, range_sql(shape, segment, after))
    return (
        f"SELECT {texts} FROM (SELECT {keys} FROM {shape.origin}{where} ORDER BY {key_list(shape)}"
        f" LIMIT {count}) AS next ORDER BY {order}"
    )


def values_sql(shape: Shape, keys: Sequence[Cursor]) -> str:
    """Return a query for these keys as values of their types, which looks at no row."""
    return f"VALUES {_rows(_values(shape, key) for key in keys)}"


def sample_sql(shape: Shape, count: int, seed: int, percent: float | None) -> str:
    """Return a query for the keys of random rows, the same ones for the same seed and the same rows.

    `percent`: choose among that share of the pages; None: among all rows.
    """
    origin = shape.origin
    if percent is not None:
        origin += tablesample(percent, seed)
    texts = [f"pg_catalog.format('%s', {key.sql})" for key in shape.key]
    return (
        f"SELECT {', '.join(texts)} FROM {origin}{where_sql(shape)}"
        f" ORDER BY pg_catalog.md5(pg_catalog.concat_ws(pg_catalog.chr(31), {', '.join(texts)},"
        f" {literal(str(seed))})) LIMIT {count}"
    )


def tablesample(percent: float, seed: int) -> str:
    """Return the clause for a share of the pages, the same ones for the same seed."""
    return f" TABLESAMPLE pg_catalog.system ({percent:.9f}) REPEATABLE ({seed})"


def _rows_sql(shape: Shape, conditions: Sequence[str]) -> str:
    selected = [column.sql for column in shape.columns]
    if shape.marks_groups:
        starts = " OR ".join(
            f"(pg_catalog.lag({key.sql}) OVER w {key.operators.equal} {key.sql}) IS NOT TRUE"
            for key in shape.key
        )
        selected.append(f"({starts}) AS {identifier(GROUP_START)}")
    sql = f"SELECT {', '.join(selected)} FROM {shape.origin}{where_sql(shape, conditions)}"
    if shape.marks_groups:
        sql += f" WINDOW w AS (ORDER BY {key_list(shape)})"
    return sql + (f" ORDER BY {key_list(shape)}" if shape.key else "")


def range_sql(shape: Shape, segment: Segment, after: Cursor | None) -> tuple[str, ...]:
    """Return the conditions of a segment: after < key <= until."""
    lower = after or segment.after
    signs = [key.operators for key in shape.key]
    conditions = []
    if lower is not None:
        above = [sign.above for sign in signs]
        conditions.append(_ordered(shape, _values(shape, lower), above, above, signs[0].since))
    if segment.until is not None:
        until, below = [sign.until for sign in signs], [sign.below for sign in signs]
        conditions.append(_ordered(shape, _values(shape, segment.until), until, below, signs[0].until))
    return tuple(conditions)


def _ordered(
    shape: Shape, values: Sequence[str], signs: Sequence[str], strict: Sequence[str], reaching: str
) -> str:
    """Compare the key with values in the key's order.

    A comparison of rows goes by an index, but takes one operator for all of their columns; without it,
    `reaching` lets the first column go by one.
    """
    columns = [key.sql for key in shape.key]
    if len(set(signs)) == 1:
        return f"{row(columns)} {signs[0]} {row(values)}"
    condition = f"{columns[-1]} {signs[-1]} {values[-1]}"
    for at in reversed(range(len(columns) - 1)):
        equal = f"{columns[at]} {shape.key[at].operators.equal} {values[at]}"
        condition = f"({columns[at]} {strict[at]} {values[at]} OR ({equal} AND {condition}))"
    return f"{columns[0]} {reaching} {values[0]} AND {condition}"


def one_of(shape: Shape, cursors: Sequence[Cursor]) -> str:
    """Return the condition that the key is one of these."""
    assert cursors, "of no keys there is no condition"
    keys = [_values(shape, cursor) for cursor in cursors]
    columns, signs = [key.sql for key in shape.key], [key.operators.equal for key in shape.key]
    if len(set(signs)) == 1:
        return f"{row(columns)} {signs[0]} ANY (VALUES {_rows(keys)})"
    equals = (
        " AND ".join(
            f"{part} {sign} {value}" for part, sign, value in zip(columns, signs, values, strict=True)
        )
        for values in keys
    )
    return f"({' OR '.join(f'({each})' for each in equals)})"


def where_sql(shape: Shape, conditions: Sequence[str] = ()) -> str:
    """Return ` WHERE …` of a shape's filters and some more conditions, or nothing."""
    every = (*shape.filters, *(() if shape.changed is None else (shape.changed,)), *conditions)
    return f" WHERE {' AND '.join(every)}" if every else ""


def key_list(shape: Shape) -> str:
    """Return the key for ORDER BY."""
    return ", ".join(key.sql for key in shape.key)


def nulls_sql(shape: Shape, key: KeyColumn) -> str:
    """Return a query that tells whether a key column holds a null."""
    return f"SELECT EXISTS (SELECT FROM {shape.origin}{where_sql(shape, (f'{key.sql} IS NULL',))})"


def dimensions_sql(shape: Shape, ref: str) -> str:
    """Return a query that tells whether an array column holds an array of several dimensions."""
    several = f"pg_catalog.array_ndims({ref}) {operator('>')} 1"
    return f"SELECT EXISTS (SELECT FROM {shape.origin}{where_sql(shape, (several,))})"


def explain_sql(shape: Shape) -> str:
    """Return a query for the planner's view of the whole pass, with which rights are checked too."""
    columns = ", ".join(column.sql for column in shape.columns)
    return f"EXPLAIN (VERBOSE, FORMAT JSON) SELECT {columns} FROM {shape.origin}{where_sql(shape)}"


def boundaries_sql(shape: Shape, wanted: int, percent: float | None) -> str:
    """Return a query for the last keys of all but the last of `wanted` equal parts.

    Shape: a row per boundary: the key's texts as printed, `position`, and `total` in rows looked at.
    `percent`: sample that share of the pages; None: look at every row.
    """
    origin = shape.origin + ("" if percent is None else tablesample(percent, BOUNDARIES_SEED))
    keys = ", ".join(f"{key.sql} AS k{n}" for n, key in enumerate(shape.key))
    order = ", ".join(f"k{n}" for n in range(len(shape.key)))
    texts = ", ".join(f"pg_catalog.format('%s', k{n}) AS t{n}" for n in range(len(shape.key)))
    times, by, minus = operator("*"), operator("/"), operator("-")
    return (
        f"SELECT {texts}, position, total"
        f" FROM (SELECT {order}, pg_catalog.row_number() OVER (ORDER BY {order}) AS position,"
        f" pg_catalog.count(*) OVER () AS total"
        f" FROM (SELECT {keys} FROM {origin}{where_sql(shape)}) AS looked_at)"
        f" AS numbered WHERE position {operator('<')} total"
        f" AND ((position {times} {wanted}) {by} total)"
        f" {operator('<>')} (((position {minus} 1) {times} {wanted}) {by} total)"
        f" ORDER BY position"
    )


def _values(shape: Shape, cursor: Cursor) -> list[str]:
    assert len(cursor.key) == len(shape.key), "the cursor belongs to another key"
    return [_value(text, key) for text, key in zip(cursor.key, shape.key, strict=True)]


def _value(text: str, key: KeyColumn) -> str:
    """Return a key's literal; `text` is as the server prints it, or as dead letters and items have it."""
    if key.type == "bytea" and not text.startswith("\\x"):
        return f"pg_catalog.decode({literal(text)}, 'base64')"
    if key.type in _OF_ERAS and (early := _BEFORE_OUR_ERA.fullmatch(text)) is not None:
        text = f"{1 - int(early[1]):04d}{early[2]} BC"
    return f"{literal(text)}::{key.cast}"


def row(parts: Sequence[str]) -> str:
    """Return expressions as one: a row where there are several."""
    return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"


def _rows(keys: Iterable[Sequence[str]]) -> str:
    return ", ".join(f"({', '.join(values)})" for values in keys)
