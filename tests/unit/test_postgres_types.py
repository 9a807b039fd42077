"""Types to kinds, printed text to canonical text, without a server."""

import pyarrow as pa
import pytest

from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.postgres import canonical
from connectors.postgres.types import (
    ArrayOf,
    Composite,
    JsonArray,
    Nested,
    Printed,
    Reading,
    TypeRow,
    column_sql,
    json_sql,
    kind_of,
    node_of,
    numeric,
)
from engine.kinds import Decimal, Document, ListOf, Scalar, StructOf

TYPES = {
    row.oid: row
    for row in (
        TypeRow(1, "int4", "b", "N", ",", 0, 0, -1),
        TypeRow(2, "numeric", "b", "N", ",", 0, 0, -1),
        TypeRow(3, "_int4", "b", "A", ",", 1, 0, -1),
        TypeRow(4, "", "d", "N", ",", 0, 2, 4 + (10 << 16) + 2),
        TypeRow(5, "", "c", "C", ",", 0, 0, -1, (("x y", 1, -1), ("n", 4, -1))),
        TypeRow(6, "", "b", "A", ",", 5, 0, -1),
        TypeRow(7, "jsonb", "b", "U", ",", 0, 0, -1),
        TypeRow(8, "_jsonb", "b", "A", ",", 7, 0, -1),
        TypeRow(9, "box", "b", "G", ";", 0, 0, -1),
        TypeRow(10, "_box", "b", "A", ";", 9, 0, -1),
        TypeRow(11, "", "e", "E", ",", 0, 0, -1),
        TypeRow(12, "", "d", "N", ",", 0, 3, -1),
        # A user's own type that happens to be called like a built-in one.
        TypeRow(13, "", "b", "U", ",", 0, 0, -1),
    )
}
INT = Printed(Scalar.INT, castable=True)


@pytest.mark.parametrize(
    ("typmod", "kind"),
    [
        (-1, Scalar.NUMBER),
        (4 + (12 << 16) + 2, Decimal(12, 2)),
        (4 + (38 << 16) + 38, Decimal(38, 38)),
        (4 + (39 << 16), Scalar.NUMBER),
        (4 + (3 << 16) + (-2 & 0x7FF), Scalar.NUMBER),
        (4 + (2 << 16) + 4, Scalar.NUMBER),
    ],
)
def test_a_numeric_is_a_decimal_only_where_one_holds_all_its_values(typmod: int, kind: object) -> None:
    assert numeric(typmod).kind == kind


def test_nodes_follow_domains_elements_and_attributes() -> None:
    assert node_of(TYPES, 4, -1) == Printed(Decimal(10, 2), castable=True)
    assert node_of(TYPES, 3, -1) == Nested(INT)
    assert node_of(TYPES, 3, -1, flat=True) == ArrayOf(INT, splits=True)
    assert node_of(TYPES, 12, -1, flat=True) == ArrayOf(INT, splits=True)
    assert node_of(TYPES, 8, -1, flat=True) == JsonArray()
    assert node_of(TYPES, 10, -1) == ArrayOf(Printed(Scalar.STRING), splits=False)
    assert node_of(TYPES, 13, -1) == Printed(Scalar.STRING)
    pair = Composite((("x y", INT), ("n", Printed(Decimal(10, 2), castable=True))))
    assert node_of(TYPES, 5, -1) == pair
    assert node_of(TYPES, 6, -1) == ArrayOf(pair, splits=False)
    assert kind_of(ArrayOf(pair, splits=False)) == ListOf(
        StructOf((("x y", Scalar.INT), ("n", Decimal(10, 2))))
    )
    assert kind_of(Nested(INT)) == Document()


def test_columns_are_printed_by_their_own_output_functions() -> None:
    assert column_sql(Printed(Scalar.STRING), "t.c") == "t.c"
    assert (
        json_sql(Printed(Scalar.STRING), "t.c")
        == "CASE WHEN t.c IS NOT NULL THEN pg_catalog.format('%s', t.c) END"
    )
    assert (
        column_sql(ArrayOf(INT, splits=True), "t.c")
        == "pg_catalog.to_json((t.c::pg_catalog.text)::pg_catalog.text[])"
    )


def test_a_field_called_like_the_row_alias_does_not_hide_it() -> None:
    sql = column_sql(Composite((("object", INT), ("object_", INT))), "t.c")
    assert 'row_to_json("object__")' in sql


def canon(node: Printed, *texts: str | None) -> list[str | None]:
    array = canonical.column(node, pa.array(texts, type=pa.string()), DOCUMENTS)
    assert array.type == pa.string()
    return array.to_pylist()  # type: ignore[no-any-return]


STAMP = Printed(Scalar.TIMESTAMPTZ, Reading.TIMESTAMPTZ)


def test_regular_and_odd_timestamps_come_out_alike_in_any_company() -> None:
    regular = {
        "2024-01-15 10:00:00+00": "2024-01-15T10:00:00Z",
        "2024-01-15 10:00:00.25+00": "2024-01-15T10:00:00.25Z",
    }
    odd = {
        "infinity": "infinity",
        "-infinity": "-infinity",
        "10000-01-01 00:00:00.5+00": "10000-01-01T00:00:00.5Z",
        "0001-12-31 23:59:59+00 BC": "0000-12-31T23:59:59Z",
        "4714-11-24 00:00:00+00 BC": "-4713-11-24T00:00:00Z",
    }
    assert canon(STAMP, *regular, None) == [*regular.values(), None]
    for text, expected in odd.items():
        assert canon(STAMP, *regular, None, text) == [*regular.values(), None, expected]
    assert canon(STAMP, None) == [None]
    assert canon(STAMP) == []


def test_slices_of_a_batch_are_judged_by_their_own_values() -> None:
    texts = pa.array(["infinity", "2024-01-15 10:00:00", None, "2024-01-16 10:00:00"], type=pa.string())
    node = Printed(Scalar.TIMESTAMP, Reading.TIMESTAMP)
    assert canonical.column(node, texts.slice(1), DOCUMENTS).to_pylist() == [
        "2024-01-15T10:00:00", None, "2024-01-16T10:00:00"
    ]  # fmt: skip
    assert canonical.column(node, texts.slice(0, 1), DOCUMENTS).to_pylist() == ["infinity"]


def test_booleans_bytes_and_dates() -> None:
    assert canon(Printed(Scalar.BOOL, Reading.BOOL), "t", None, "f") == ["true", None, "false"]
    assert canon(Printed(Scalar.BINARY, Reading.BYTEA), "\\x", None, "\\x00ff") == ["", None, "AP8="]
    assert canon(Printed(Scalar.DATE, Reading.DATE), "2024-01-15", None) == ["2024-01-15", None]
    assert canon(Printed(Scalar.DATE, Reading.DATE), "0044-03-15 BC", "2024-01-15") == [
        "-0043-03-15",
        "2024-01-15",
    ]


def test_text_from_a_session_in_another_zone_is_an_error() -> None:
    with pytest.raises(AssertionError, match="UTC"):
        canon(STAMP, "10000-01-15 10:00:00+02")


def test_lists_and_structs_keep_null_empty_and_missing_apart() -> None:
    node = ArrayOf(Composite((("at", STAMP), ("tags", ArrayOf(INT, splits=True)))), splits=False)
    texts = [
        '[{"at":"2024-01-15 10:00:00+00","tags":["1",null]}, \n null]', None, "[]", '[{"at":null,"tags":[]}]'
    ]  # fmt: skip
    array = canonical.column(node, pa.array(texts, type=pa.string()), DOCUMENTS)
    array.validate(full=True)
    assert array.to_pylist() == [
        [{"at": "2024-01-15T10:00:00Z", "tags": ["1", None]}, None],
        None,
        [],
        [{"at": None, "tags": []}],
    ]
