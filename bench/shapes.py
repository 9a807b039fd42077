"""Rows of many shapes: what an item and its bytes cost, beside the plain row's.

Invariant: what start-up takes (a load of one row by the same job) is taken off everybody's figure; a shape
whose bytes cost more than twice the plain row's stands out.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

from bench import compare, measure, servers
from bench.tls_null import tls_null_target
from engine.errors import JobError

DATABASE = "shapes"
SERIES = "generate_series(1, {rows}) AS g"
PLAIN = "plain"
JSON_1_KB = (
    "json_build_object('id', g, 'tags', ARRAY['a', 'b', 'c'], 'paid', g % 2 = 0, 'lines',"
    " (SELECT json_agg(json_build_object('sku', 'sku-' || g % 97 || n, 'count', n, 'price', n * 1.25))"
    " FROM generate_series(1, 14) AS n), 'note', repeat('lorem ipsum ', 20))::jsonb"
)
LONG_NUMBERS = (
    "(SELECT jsonb_object_agg('n' || n, 0.12345678901234567 + g + n) FROM generate_series(1, 30) AS n)"
)
ADDRESSES = (
    "(SELECT jsonb_agg(jsonb_build_object('type', 't' || n, 'street', g || ' Main Street',"
    " 'city', 'Springfield')) FROM generate_series(1, 5) AS n)"
)


def rule(sk: str = "X", **more: Any) -> dict[str, Any]:
    """Return a rule that gives the whole row."""
    return {"name": "Row", "key": {"PK": "ROW#{id}", "SK": sk}, "include": "all", **more}


@dataclass(frozen=True, slots=True)
class RowShape:
    """A table of a shape and the job that loads it. `columns` is SQL over `g`, the row's number from 1.

    `share`: how many rows it gets of those that the plain one gets.
    """

    name: str
    columns: str
    items: dict[str, Any] = field(default_factory=rule)
    per_row: int = 1
    share: float = 1.0
    source: Mapping[str, Any] = field(default_factory=dict)
    target: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    children: str = ""
    tls: bool = False


_ORDER = (
    "g % 50000 AS user_id, timestamptz '2024-01-01Z' + g * interval '1 minute' AS order_date,"
    " 'paid' AS status, (g * 37 % 100000) / 100.0 AS total, 'USD' AS currency, g % 9 AS count,"
    " g % 2 = 0 AS paid, 'user' || g || '@example.com' AS email, g % 999 || ' Main Street' AS address,"
    " repeat('note ', 30) AS notes, timestamptz '2024-06-01Z' + g * interval '1 second' AS updated_at"
)
_NULLS = "NULL::text AS a, NULL::int AS b, NULL::date AS c"
_LINES = (
    "CREATE TABLE lines AS SELECT g AS n, 1 + g % {rows} AS row_id, 'sku' || g AS sku"
    " FROM generate_series(1, {rows} * 5 / 2) AS g"
)
_EMBED = {"lines": {"table": "lines", "on": {"row_id": "id"}, "order_by": ["n"]}}
_VERSION = {"version": {"value": "{updated_at}", "as": "epoch_us"}}
_NEWER = {"mode": "newer", "version": "version"}


def each(**attributes: str) -> dict[str, Any]:
    """Return a rule that gives an item for each element of a list."""
    return rule("E#{index}", for_each="list", include="none", attributes=attributes)


SHAPES = (
    RowShape(PLAIN, _ORDER),
    RowShape("narrow", "g % 7 AS n"),
    RowShape("50 columns", ", ".join(f"'text {n} ' || g AS c{n}" for n in range(50)), share=0.3),
    RowShape("text of 20 KB", "repeat('lorem ipsum dolor ', 1100) || g AS body", share=0.05),
    RowShape("nulls kept", f"{_ORDER}, {_NULLS}", options={"nulls": "keep"}),
    RowShape("insert", _ORDER, share=0.3, target={"mode": "insert"}),
    RowShape("newer", _ORDER, rule(attributes=_VERSION), share=0.3, target=_NEWER),
    RowShape("TLS", _ORDER, tls=True),
    RowShape("embed, 2.5 lines", _ORDER, share=0.5, source={"embed": _EMBED}, children=_LINES),
    RowShape("jsonb of 1 KB", f"{JSON_1_KB} AS doc", share=0.5),
    RowShape("jsonb, {doc.x}", f"{JSON_1_KB} AS doc", rule("N#{doc.id}"), share=0.5),
    RowShape("jsonb, 17 digits", f"{LONG_NUMBERS} AS doc", share=0.5),
    RowShape("for_each, text[]", "ARRAY['a' || g, 'b' || g, 'c' || g] AS list", each(v="{each}"), 3, 0.5),
    RowShape(
        "for_each, jsonb",
        f"{ADDRESSES} AS list",
        each(type="{each.type}", street="{each.street}", city="{each.city}"),
        5,
        0.2,
    ),
)


def run(server: str, sizes: compare.Sizes, tell: compare.Tell) -> dict[str, Any]:
    """Measure each shape in one process, in rounds over all of them."""
    costs: dict[str, list[tuple[float, float, float]]] = {shape.name: [] for shape in SHAPES}
    servers.execute(server, f"CREATE DATABASE {DATABASE}")
    url = servers.database_url(server, DATABASE)
    rows = {shape.name: max(1, round(sizes.engine_rows * shape.share)) for shape in SHAPES}
    try:
        for number, shape in enumerate(SHAPES):
            _fill(url, f"shape_{number}", shape, rows[shape.name])
        for _ in range(sizes.rounds):
            for number, shape in enumerate(SHAPES):
                try:
                    took = _measured(url, f"shape_{number}", shape, rows[shape.name])
                except JobError as error:
                    tell(f"{shape.name}: left out: {error}")
                    continue
                costs[shape.name].append(took)
                tell(f"{shape.name:20} {took[0]:7.2f} µs an item of {took[1]:,.0f} bytes")
    finally:
        servers.execute(server, f"DROP DATABASE {DATABASE} WITH (FORCE)")
    return {name: _middle(took) for name, took in costs.items() if took}


def markdown(found: Mapping[str, Mapping[str, float]]) -> str:
    """Lay the shapes out for the docs, the dearest bytes last."""
    plain_ns = found[PLAIN]["ns_per_byte"]
    lines = ["| shape | µs an item | bytes an item | ns a byte | plain = 1 |", "|---|---|---|---|---|"]
    for name, each in sorted(found.items(), key=lambda pair: pair[1]["ns_per_byte"]):
        figures = f"{each['us_per_item']:.1f} | {each['bytes_per_item']:,.0f} | {each['ns_per_byte']:.1f}"
        lines.append(f"| {name} | {figures} | {each['ns_per_byte'] / plain_ns:.1f} |")
    return "\n".join(lines)


def _middle(took: Sequence[tuple[float, float, float]]) -> Mapping[str, float]:
    us, size = median(cost for cost, _, _ in took), took[0][1]
    return {
        "us_per_item": round(us, 2),
        "bytes_per_item": round(size),
        "ns_per_byte": round(us / size * 1e3, 2),
        "peak_rss_mb": round(median(peak for _, _, peak in took), 1),
    }


def _fill(url: str, table: str, shape: RowShape, rows: int) -> None:
    made = f"CREATE TABLE {table} AS SELECT g AS id, {shape.columns} FROM {SERIES}"  # noqa: S608 - our own
    for statement in filter(None, (shape.children, made)):
        servers.execute(url, statement.replace("{rows}", str(rows)))
    servers.execute(url, f"ALTER TABLE {table} ADD PRIMARY KEY (id)")
    if shape.children:
        servers.execute(url, "CREATE INDEX ON lines (row_id)")
    servers.execute(url, "VACUUM ANALYZE")


def _measured(url: str, table: str, shape: RowShape, rows: int) -> tuple[float, float, float]:
    """Return what an item took without the start-up, its bytes in a request, the peak. Units: µs, MB."""
    whole = measure.load(partial(_job, url, table, shape, None), rows * shape.per_row, target=_target(shape))
    alone = measure.load(partial(_job, url, table, shape, "id = 1"), shape.per_row, target=_target(shape))
    spent_us = whole.cpu_us_per_item * whole.rows - alone.cpu_us_per_item * alone.rows
    return spent_us / whole.rows, whole.body_bytes_per_item, whole.peak_rss_mb


def _target(shape: RowShape) -> Callable[[], AbstractContextManager[str]]:
    return tls_null_target if shape.tls else servers.null_target


def _job(url: str, table: str, shape: RowShape, where: str | None, endpoint: str) -> Mapping[str, Any]:
    source = {"type": "postgres", "url": url, "table": table, **shape.source}
    target = {"type": "dynamodb", "table": "shapes", "region": "us-east-1", "endpoint_url": endpoint}
    return {
        "name": "shape",
        "source": source if where is None else {**source, "where": where},
        "target": {**target, **shape.target},
        "items": [shape.items],
        "options": shape.options,
    }
