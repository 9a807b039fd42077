"""The rows that share values with others: which rows a run reads besides those that it is about. Pure SQL.

Invariant: two rows whose texts are equal in all columns of a sharing are found together, whatever the types;
comparing may find more rows than that, never fewer.
"""

# ruff: noqa: S608 - SQL is built here; every name and value in it goes through quoting.py

from collections.abc import Sequence
from dataclasses import replace

from connectors.postgres.quoting import identifier, operator
from connectors.postgres.section import PostgresSection
from connectors.postgres.sql import ReadColumn, Shape, one_of, row, where_sql
from engine.contracts.source import Sharing

_AMONG = identifier("rows and their peers")


def with_peers(shape: Shape, sharing: Sharing, was: str | None = None) -> Shape:
    """Return the shape of the rows that a sharing is of, together with their peers.

    `was`: rows as they were, in place of the table, whose peers are meant, too.
    """
    columns = {column.name: column for column in shape.columns}
    whole = replace(shape, changed=None)
    some = replace(whole, filters=(*shape.filters, _touched(shape, sharing)))
    among = [f"{some.origin}{where_sql(some)}", *([] if was is None else [was])]
    peers = [_alike([columns[name] for name in names], rows) for names in sharing.by for rows in among]
    if not shape.key:
        return replace(
            whole, filters=(*shape.filters, f"({' OR '.join((_touched(shape, sharing), *peers))})")
        )
    key = [part.sql for part in shape.key]
    parts = [f"SELECT {', '.join(key)} FROM {shape.origin}{where_sql(some)}"]
    parts += [f"SELECT {', '.join(key)} FROM {shape.origin}{where_sql(whole, (peer,))}" for peer in peers]
    signs = {part.operators.equal for part in shape.key}
    keys = " UNION ALL ".join(parts)
    if len(signs) == 1:
        return replace(whole, filters=(*shape.filters, f"{row(key)} {signs.pop()} ANY ({keys})"))
    names = [f"k{number}" for number in range(len(key))]
    equal = " AND ".join(
        f"{part.sql} {part.operators.equal} {_AMONG}.{name}"
        for part, name in zip(shape.key, names, strict=True)
    )
    exists = f"EXISTS (SELECT FROM ({keys}) AS {_AMONG} ({', '.join(names)}) WHERE {equal})"
    return replace(whole, filters=(*shape.filters, exists))


def unindexed(section: PostgresSection, sharing: Sharing, indexed: Sequence[Sequence[str]]) -> list[str]:
    """Say with which of a sharing's columns no index begins, so that finding peers reads everything."""
    often = "every catch-up run scans it"
    if section.catch_up is not None:
        often = "it is scanned at every thousand changes, and with --follow whenever something changes,"
    begins = {columns[0] for columns in indexed if columns}
    return [
        f"No index of {section.reads} begins with {' or '.join(names)}, so {often} for the rows that"
        " share that."
        for names in sharing.by
        if begins.isdisjoint(names)
    ]


def _touched(shape: Shape, sharing: Sharing) -> str:
    """Return the condition for the rows that a sharing is of."""
    if sharing.of is not None:
        return one_of(shape, sharing.of) if sharing.of else "false"
    assert shape.changed is not None, "only a catch-up run reads some rows of its own accord"
    return shape.changed


def _alike(columns: Sequence[ReadColumn], rows: str) -> str:
    """Return the condition that a row prints like one of some rows in all of these columns."""
    values = row([column.comparable for column in columns])
    selected = ", ".join(column.comparable for column in columns)
    return f"{values} {operator('=')} ANY (SELECT {selected} FROM {rows})"
