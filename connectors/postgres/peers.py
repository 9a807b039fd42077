"""The rows that share values with others: which rows a run reads besides those that it is about. Pure SQL.

Invariant: two rows whose texts are equal in all columns of a sharing are found together, whatever the types;
comparing may find more rows than that, never fewer.
"""

# ruff: noqa: S608 - SQL is built here; every name and value in it goes through quoting.py

from collections.abc import Sequence
from dataclasses import replace

from connectors.postgres.quoting import identifier, operator
from connectors.postgres.sql import ReadColumn, Shape, one_of, row, where_sql
from engine.contracts.source import Sharing

_AMONG = identifier("rows and their peers")


def with_peers(shape: Shape, sharing: Sharing) -> Shape:
    """Return the shape of the rows that a sharing is of, together with their peers."""
    columns = {column.name: column for column in shape.columns}
    whole = replace(shape, changed=None)
    some = replace(whole, filters=(*shape.filters, _touched(shape, sharing)))
    peers = [_alike(some, [columns[name] for name in names]) for names in sharing.by]
    if not shape.key:
        return replace(
            whole, filters=(*shape.filters, f"({' OR '.join((_touched(shape, sharing), *peers))})")
        )
    key = [part.sql for part in shape.key]
    parts = [f"SELECT {', '.join(key)} FROM {shape.origin}{where_sql(some)}"]
    parts += [f"SELECT {', '.join(key)} FROM {shape.origin}{where_sql(whole, (peer,))}" for peer in peers]
    signs = {part.operators.equal for part in shape.key}
    among = " UNION ALL ".join(parts)
    if len(signs) == 1:
        return replace(whole, filters=(*shape.filters, f"{row(key)} {signs.pop()} ANY ({among})"))
    names = [f"k{number}" for number in range(len(key))]
    equal = " AND ".join(
        f"{part.sql} {part.operators.equal} {_AMONG}.{name}"
        for part, name in zip(shape.key, names, strict=True)
    )
    exists = f"EXISTS (SELECT FROM ({among}) AS {_AMONG} ({', '.join(names)}) WHERE {equal})"
    return replace(whole, filters=(*shape.filters, exists))


def unindexed(sharing: Sharing, indexed: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return which of a sharing's columns no index begins with, so that finding peers reads everything."""
    begins = {columns[0] for columns in indexed if columns}
    return [names for names in sharing.by if begins.isdisjoint(names)]


def _touched(shape: Shape, sharing: Sharing) -> str:
    """Return the condition for the rows that a sharing is of."""
    if sharing.of is not None:
        return one_of(shape, sharing.of)
    assert shape.changed is not None, "only a catch-up run reads some rows of its own accord"
    return shape.changed


def _alike(some: Shape, columns: Sequence[ReadColumn]) -> str:
    """Return the condition that a row prints like one of `some` in all of these columns."""
    values = row([column.comparable for column in columns])
    selected = ", ".join(column.comparable for column in columns)
    return f"{values} {operator('=')} ANY (SELECT {selected} FROM {some.origin}{where_sql(some)})"
