"""What items come to: exact sizes, entries of indexes by projection, flaws by their rows."""

import json
from typing import Any

import polars as pl
import pytest

from connectors.dynamodb.documents.codec import measured as size_of
from connectors.dynamodb.planning.forecast import PlannedTable
from connectors.dynamodb.planning.measure import TableMeasurer
from connectors.dynamodb.planning.prices import load_prices
from connectors.dynamodb.planning.use import ABSENT, TABLE, used
from connectors.dynamodb.table_request import planned_table
from engine.contracts.planning import Measured
from engine.contracts.transform import DELETE, FLAW, ROW, Attribute, RuleItems
from engine.job.model import Job
from engine.kinds import Members, Scalar

GSI = [
    {"name": "All", "partition_key": "G"},
    {"name": "Keys", "partition_key": "G", "sort_key": "H", "projection": "keys_only"},
    {"name": "Some", "partition_key": "G", "projection": ["Big"]},
]
STRINGS = ("PK", "SK", "G", "H", "Big", "N")


def measurer(**changes: Any) -> TableMeasurer:
    job = Job.model_validate(
        {
            "name": "j",
            "source": {"type": "postgres", "url": "postgresql://h/d", "table": "t"},
            "target": {"type": "dynamodb", "table": "shop", "create": {"gsi": GSI}},
            "items": [{"name": "R", "key": {"PK": "{a}", "SK": "{b}"}}],
            **changes,
        }
    )
    table = PlannedTable(planned_table(job.target), False, "put", None, load_prices(None))
    return TableMeasurer(table, job, 100)


def measure(
    items: list[dict[str, str | None]], *, deleted: set[int] = frozenset(), **changes: Any
) -> Measured:
    kinds = [Scalar.NUMBER if name == "N" else Scalar.STRING for name in STRINGS]
    columns = {
        str(n): pl.Series([item.get(name) for item in items], dtype=pl.String)
        for n, name in enumerate(STRINGS)
    }
    frame = pl.DataFrame(columns).with_columns(
        pl.Series(ROW, range(10, 10 + len(items)), dtype=pl.UInt32),
        pl.Series(DELETE, [n in deleted for n in range(len(items))]),
        pl.Series(FLAW, [None] * len(items), dtype=pl.String),
    )
    attributes = tuple(Attribute(name, kind) for name, kind in zip(STRINGS, kinds, strict=True))
    return measurer(**changes).measure(RuleItems(0, "R", attributes, frame))


def plain_size(item: dict[str, str | None], names: Any = STRINGS) -> int:
    values = {n: {"N" if n == "N" else "S": item[n]} for n in names if item.get(n) is not None}
    return sum(len(name.encode()) + size_of(value)[0] for name, value in values.items())


def test_sizes_are_exact_and_indexes_hold_what_they_project() -> None:
    items = [
        {"PK": "é1", "SK": "s", "G": "g", "H": "h", "Big": "x" * 2_000, "N": "12.50"},
        {"PK": "2", "SK": "s", "G": "g", "Big": "x" * 1_100},
        {"PK": "3", "SK": "s", "H": "h", "N": "7"},
    ]
    found = measure(items)
    assert found.sizes.tolist() == [plain_size(item) for item in items]
    assert used(found)[TABLE].units.tolist() == [2, 2, 1]
    _table, every, keys, some = used(found).values()
    assert every.sizes.tolist() == [plain_size(items[0]), plain_size(items[1]), ABSENT]
    assert keys.sizes.tolist() == [plain_size(items[0], ("PK", "SK", "G", "H")), ABSENT, ABSENT]
    assert some.sizes.tolist() == [plain_size(item, ("PK", "SK", "G", "Big")) for item in items[:2]] + [
        ABSENT
    ]
    assert some.units.tolist() == [2, 2, 0]
    assert every.partition.to_list() == ["g", "g", None]


def test_a_delete_costs_one_unit_and_is_in_no_index() -> None:
    found = measure([{"PK": "1", "SK": "s", "G": "g", "Big": "x" * 5_000}], deleted={0})
    entries = used(found)
    assert entries[TABLE].units.tolist() == [1]
    assert all(each.sizes.tolist() == [ABSENT] for each in entries.values())


def test_flaws_name_the_row_and_leave_the_others_in_place() -> None:
    items = [
        {"PK": "1", "SK": "s"},
        {"PK": None, "SK": "s"},
        {"PK": "3", "SK": "s", "G": ""},
        {"PK": "4", "SK": "s"},
    ]
    found = measure(items)
    assert found.rows.tolist() == [10, 13]
    assert [(flaw.row, flaw.reason) for flaw in found.flaws] == [(11, "key_null"), (12, "key_empty")]
    assert found.key[0].to_list() == ["1", "4"]


def test_equal_keys_are_all_there() -> None:
    found = measure([{"PK": "1", "SK": "s"}, {"PK": "1", "SK": "s"}])
    assert [texts.to_list() for texts in found.key] == [["1", "1"], ["s", "s"]]
    assert len(found.rows) == 2


def test_json_bytes_are_those_of_an_import_file() -> None:
    item = {"PK": 'a"b', "SK": "s", "N": "1.5"}
    wire = {name: {"N" if name == "N" else "S": value} for name, value in item.items()}
    assert (
        used(measure([item]))[TABLE].json_bytes == len(json.dumps(wire, separators=(",", ":"))) - 1
    )  # without a brace, …


@pytest.mark.parametrize("nulls", ["omit", "keep"])
def test_attributes_of_documents_are_found_among_the_members(nulls: str) -> None:
    attributes = (Attribute("PK", Scalar.STRING), Attribute("SK", Scalar.STRING), Attribute("", Members()))
    wires = [',"G":{"S":"gé"},"Big":{"L":[{"N":"12"}]}', ',"Other":{"S":"x"}']
    parsed = [json.loads("{" + wire[1:] + "}") for wire in wires]
    sizes = [sum(len(name) + size_of(value)[0] for name, value in item.items()) for item in parsed]
    members = [
        {"wire": wire, "size": size, "depth": 1, "flaw": None}
        for wire, size in zip(wires, sizes, strict=True)
    ]
    frame = pl.DataFrame(
        {
            "0": ["1", "2"],
            "1": ["s", "s"],
            "2": pl.Series(
                members,
                dtype=pl.Struct({"wire": pl.String, "size": pl.Int64, "depth": pl.Int32, "flaw": pl.String}),
            ),
            ROW: pl.Series([0, 1], dtype=pl.UInt32),
            DELETE: [False, False],
            FLAW: pl.Series([None, None], dtype=pl.String),
        }
    )
    found = measurer(options={"nulls": nulls}).measure(RuleItems(0, "R", attributes, frame))
    _table, every, keys, some = used(found).values()
    assert every.sizes.tolist() == [found.sizes[0], ABSENT]
    assert every.partition.to_list() == ["gé", None]
    assert keys.sizes.tolist() == [ABSENT, ABSENT]
    assert some.sizes[0] == 2 + 1 + 2 + 1 + 1 + 3 + 3 + (3 + 1 + 2)
