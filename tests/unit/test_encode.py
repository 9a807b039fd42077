"""What a user would lose if items were refused for nothing, or vanished uncounted."""

import pytest

from connectors.dynamodb.limits import ITEM_BYTES_MAX
from engine.contracts.transform import DELETE, FLAW
from engine.errors import PermanentError
from engine.kinds import Decimal, Document, ListOf, Scalar, SetOf, StructOf
from tests.support.items import batch_of, encoded, encoder, rule_items, table_info

S, N, INT, B = Scalar.STRING, Scalar.NUMBER, Scalar.INT, Scalar.BINARY
KEY = {"PK": S, "SK": S}


def row(**values):
    return {"PK": "u#1", "SK": "o#1"} | values


def letter(kinds, values, **changes):
    result = encoded(rule_items(KEY | kinds, [row(**values)]), **changes)
    assert len(result) == 0
    (dead,) = result.dead_letters
    return dead


def test_an_item_is_the_bytes_of_a_put():
    kinds = {"PK": S, "Total": Decimal(10, 2), "At": Scalar.TIMESTAMPTZ, "Paid": Scalar.BOOL, "n": INT}
    values = {"PK": "a", "Total": "12.50", "At": "2024-01-15T10:00:00Z", "Paid": "true", "n": "-7"}
    result = encoded(rule_items(kinds, [values]), info=table_info(sort=None))
    assert result.item(0) == (
        b'{"PutRequest":{"Item":{"PK":{"S":"a"},"Total":{"N":"12.5"},"At":{"S":"2024-01-15T10:00:00Z"},'
        b'"Paid":{"BOOL":true},"n":{"N":"-7"}}}}'
    )
    assert result.units.tolist() == [1]


def test_a_delete_asks_only_for_its_key():
    values = row(v="NaN", **{DELETE: True})
    result = encoded(rule_items(KEY | {"v": N}, [values]))
    assert result.item(0) == b'{"DeleteRequest":{"Key":{"PK":{"S":"u#1"},"SK":{"S":"o#1"}}}}'
    assert result.units.tolist() == [1]
    (dead,) = encoded(rule_items(KEY | {"v": N}, [values | {"SK": ""}])).dead_letters
    assert dead.item_json == '{"PK":{"S":"u#1"},"SK":{"S":""}}'


def test_a_flaw_of_the_transform_is_a_dead_letter_and_hides_no_other_item():
    rows = [row(SK=None, **{FLAW: "key_null: SK: column id is null"}), row(SK="o#2")]
    result = encoded(rule_items(KEY, rows))
    (dead,) = result.dead_letters
    assert (dead.reason, dead.detail, dead.item_json) == (
        "key_null",
        "SK: column id is null",
        '{"PK":{"S":"u#1"}}',
    )
    assert len(result) == 1


def test_the_largest_item_is_written_and_one_byte_more_is_not():
    rest = len("PK") + len("u#1") + len("SK") + len("o#1") + len("v") + len("n") + 3  # -7 counts 3
    fits = "é" * ((ITEM_BYTES_MAX - rest) // 2) + "x" * ((ITEM_BYTES_MAX - rest) % 2)
    rows = [row(v=fits, n="-7"), row(SK="o#2", v=fits + "x", n="-7")]
    result = encoded(rule_items(KEY | {"v": S, "n": INT}, rows))
    assert result.units.tolist() == [400]
    (dead,) = result.dead_letters
    assert (dead.reason, dead.source_key) == ("item_too_large", {"id": "101"})
    assert dead.item_json is not None


def test_a_huge_item_is_not_carried_along_in_its_dead_letter():
    assert letter({"v": S}, {"v": "x" * 2_000_000}).item_json is None


def test_write_units_are_those_of_the_exact_size():
    fill = 1024 - len("PKu#1SKo#1vn")  # n = 100 counts 2, though it has three characters
    rows = [row(SK=f"o#{n}", v="x" * (fill - 2 + n), n="100") for n in range(2)]
    result = encoded(rule_items(KEY | {"v": S, "n": INT}, rows))
    assert dict(zip(result.rows.tolist(), result.units.tolist(), strict=True)) == {0: 1, 1: 2}


def test_fail_stops_at_the_first_bad_item_and_says_which():
    with pytest.raises(PermanentError, match=r"items\[0\]: number_not_finite: v: .*id=100.*on_invalid"):
        encoded(rule_items(KEY | {"v": N}, [row(v="NaN")]), on_invalid="fail")


def test_no_items_and_only_dead_ones_give_an_empty_batch():
    every_kind = KEY | {
        "a": ListOf(S),
        "b": SetOf(N),
        "c": StructOf((("x", Document()),)),
        "d": Document(),
        "e": N,
    }
    assert len(encoded(rule_items(every_kind, []))) == 0
    assert len(encoder().encode(batch_of(0), [])) == 0
    dead = encoded(rule_items(KEY | {"v": N}, [row(v="NaN"), row(SK="")]))
    assert (len(dead), len(dead.text), dead.emitted, len(dead.dead_letters)) == (0, 0, 2, 2)
