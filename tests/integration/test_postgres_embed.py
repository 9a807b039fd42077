"""Children as lists inside their parents."""

import pytest

from connectors.postgres.section import Embed
from engine.errors import JobError
from engine.kinds import Decimal, Document, ListOf, Scalar, StructOf
from tests.support.pg import execute, opened, read_all, rows

pytestmark = pytest.mark.asyncio

TABLES = (
    "CREATE TABLE orders (id int PRIMARY KEY, shop int, note text)",
    "CREATE TABLE order_items (shop int, order_id int, line_no int, price numeric(8,2), at timestamptz,"
    " doc jsonb, tags text[], object text, PRIMARY KEY (order_id, line_no))",
    "INSERT INTO orders VALUES (1, 7, 'a'), (2, 7, 'b'), (3, 8, NULL)",
    "INSERT INTO order_items VALUES (7, 1, 3, 1.5, NULL, '{\"n\": 1.0}', '{x}', 'o'),"
    " (7, 1, 1, 2, '2024-01-15 10:00+00', NULL, NULL, E'\"quoted\"\\n'),"
    " (8, 1, 2, 0, NULL, NULL, NULL, NULL), (8, 3, 1, -0.01, 'infinity', NULL, NULL, '')",
)


async def test_children_become_lists_in_their_order_and_no_children_an_empty_list(postgres_url: str) -> None:
    await execute(postgres_url, *TABLES)
    embed = Embed(
        table="order_items",
        on={"order_id": "id", "shop": "shop"},
        order_by=("line_no",),
        columns=("line_no", "price", "at", "doc", "object"),
    )
    async with opened(postgres_url, table="orders", embed={"items": embed}) as source:
        assert source.ticket.schema.column("items").kind == ListOf(
            StructOf(
                (
                    ("line_no", Scalar.INT),
                    ("price", Decimal(8, 2)),
                    ("at", Scalar.TIMESTAMPTZ),
                    ("doc", Document()),
                    ("object", Scalar.STRING),
                )
            )
        )
        first, second, third = await rows(source, 2)
    assert [item["line_no"] for item in first["items"]] == ["1", "3"]
    assert first["items"][0] == {
        "line_no": "1", "price": "2.00", "at": "2024-01-15T10:00:00Z", "doc": None, "object": '"quoted"\n'
    }  # fmt: skip
    assert first["items"][1]["doc"]["wire"] == '{"M":{"n":{"N":"1"}}}'
    assert second["items"] == []
    assert third["items"] == [{"line_no": "1", "price": "-0.01", "at": "infinity", "doc": None, "object": ""}]


async def test_a_filter_a_table_inside_itself_and_all_columns(postgres_url: str) -> None:
    await execute(
        postgres_url,
        "CREATE TABLE node (id int PRIMARY KEY, parent int)",
        "INSERT INTO node VALUES (1, NULL), (3, 1), (2, 1), (4, 1)",
    )
    embed = Embed(table="node", on={"parent": "id"}, where="id < 4 -- not the last")
    async with opened(postgres_url, table="node", embed={"children": embed}, where="node.id = 1") as source:
        assert any("No index of node" in notice for notice in source.notices)
        assert await rows(source) == [
            {
                "id": "1",
                "parent": None,
                "children": [{"id": "2", "parent": "1"}, {"id": "3", "parent": "1"}],
            }
        ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"table": "nowhere"}, r"embed\.items\.table.*nowhere"),
        ({"on": {"order": "id"}}, r"embed\.items\.on.*no column order; the nearest is order_id"),
        ({"on": {"order_id": "idd"}}, r"embed\.items\.on.*no column idd; the nearest is id"),
        ({"order_by": ("line",)}, r"embed\.items\.order_by.*no column line; the nearest is line_no"),
        ({"columns": ("prize",)}, r"embed\.items\.columns.*no column prize; the nearest is price"),
        ({"on": {"object": "id"}}, r"operator does not exist"),
    ],
)
async def test_what_does_not_fit_is_named(postgres_url: str, change: dict, message: str) -> None:
    await execute(postgres_url, *TABLES)
    embed = Embed.model_validate({"table": "order_items", "on": {"order_id": "id"}} | change)
    with pytest.raises(JobError, match=message):
        await read_all(postgres_url, table="orders", embed={"items": embed})


async def test_a_name_that_a_column_has_is_refused(postgres_url: str) -> None:
    await execute(postgres_url, *TABLES)
    with pytest.raises(JobError, match="note"):
        await read_all(
            postgres_url,
            table="orders",
            embed={"note": Embed(table="order_items", on={"order_id": "id"})},
        )
