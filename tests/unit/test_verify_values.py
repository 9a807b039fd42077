"""Items are the same when DynamoDB would hold them as the same, and differ otherwise."""

import pytest

from connectors.dynamodb.encoding.comparison import differing
from connectors.dynamodb.reading.codec import TableCodec
from engine.commands.verify.comparison import judged
from engine.commands.verify.outcome import Outcome, differing_item
from engine.contracts.readback import CONTENT_MIN

OF_TWO = {"compared": "v", "version": {"N": "2"}}
CODEC = TableCodec((("PK", "S"), ("SK", "N")))


def key_hashes(items, codec=CODEC):
    return codec.digests(items).keys


def content_hashes(items):
    return CODEC.digests(items).contents


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"N": "1.0"}, {"N": "1"}),
        ({"N": "1E+3"}, {"N": "1000"}),
        ({"SS": ["a", "b"]}, {"SS": ["b", "a"]}),
        ({"NS": ["1.0", "2"]}, {"NS": ["2", "1"]}),
        ({"BS": ["YQ==", "Yg=="]}, {"BS": ["Yg==", "YQ=="]}),
        ({"L": [{"N": "1.50"}, {"M": {"a": {"N": "0.0"}}}]}, {"L": [{"N": "1.5"}, {"M": {"a": {"N": "0"}}}]}),
    ],
)
def test_another_form_of_the_same_value_is_no_difference(one, other):
    assert differing({"a": one}, {"a": other}) == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"N": "1"}, {"S": "1"}),
        ({"N": "1"}, {"N": "1.0000000000000000000000000000000000001"}),
        ({"S": "a"}, {"S": "a "}),
        ({"S": "é"}, {"S": "e\u0301"}),
        ({"L": [{"N": "1"}, {"N": "2"}]}, {"L": [{"N": "2"}, {"N": "1"}]}),
        ({"SS": ["a"]}, {"L": [{"S": "a"}]}),
        ({"BOOL": True}, {"BOOL": False}),
        ({"NULL": True}, None),
        ({"M": {"a": {"S": ""}}}, {"M": {}}),
    ],
)
def test_anything_else_is_a_difference(one, other):
    expected = {"k": {"S": "x"}, "a": one}
    actual = {"k": {"S": "x"}} if other is None else {"k": {"S": "x"}, "a": other}
    assert differing(expected, actual) == ("a",)
    assert differing(actual, expected) == ("a",)


def item(**attributes):
    return {"PK": {"S": "p"}, "SK": {"N": "7"}, **attributes}


def test_hashes_ignore_the_order_of_attributes_and_of_set_members():
    one = item(a={"SS": ["x", "y"]}, b={"M": {"c": {"S": 'S":["'}, "d": {"NS": ["1", "2"]}}})
    other = dict(reversed(list(one.items())))
    other["a"] = {"SS": ["y", "x"]}
    other["b"] = {"M": {"d": {"NS": ["2", "1"]}, "c": {"S": 'S":["'}}}
    assert content_hashes([one]) == content_hashes([other])


def test_one_flipped_byte_changes_the_hash_of_the_content_and_not_of_the_key():
    one, other = item(a={"S": "x" * 500}), item(a={"S": "x" * 499 + "y"})
    assert content_hashes([one]) != content_hashes([other])
    assert key_hashes([one]) == key_hashes([other])


def test_a_number_in_a_key_has_one_hash_in_every_form():
    forms = [{"PK": {"S": "p"}, "SK": {"N": text}} for text in ("7", "7.0", "07", "0.7E1")]
    assert len(set(key_hashes(forms).tolist())) == 1


def test_partition_and_sort_key_do_not_trade_places():
    codec = TableCodec((("PK", "S"), ("SK", "S")))
    one = {"PK": {"S": "a"}, "SK": {"S": "b"}}
    other = {"PK": {"S": "b"}, "SK": {"S": "a"}}
    assert key_hashes([one], codec) != key_hashes([other], codec)


def test_no_item_has_the_hash_of_none():
    assert not (content_hashes([item()]) < CONTENT_MIN).any()
    assert len(content_hashes([])) == 0


@pytest.mark.parametrize(
    ("expected", "actual", "terms", "verdict"),
    [
        (item(v={"N": "1"}), item(v={"N": "1.0"}), {}, "matched"),
        (item(v={"N": "1"}), None, {}, "missing"),
        (None, None, {}, "matched"),
        (None, item(), {}, "extra"),
        (item(v={"N": "1"}), item(v={"N": "2"}), {}, "mismatched"),
        (item(v={"N": "1"}), item(v={"N": "2"}), {"compared": "v", "version": {"N": "1"}}, "newer_in_target"),
        (item(v={"N": "3"}), item(v={"N": "2"}), {"compared": "v", "version": {"N": "3"}}, "mismatched"),
        (
            item(v={"N": "2"}, a={"S": ""}),
            item(v={"N": "2"}),
            {"compared": "v", "version": {"N": "2"}},
            "mismatched",
        ),
        (None, item(v={"N": "9"}), {"compared": "v", "version": {"N": "3"}}, "newer_in_target"),
        (item(v={"S": "b"}), item(v={"N": "9"}), {"compared": "v", "version": {"S": "b"}}, "mismatched"),
        (item(v={"N": "1"}), item(v={"N": "2"}), {"keeps": True}, "kept"),
        (None, item(), {"keeps": True}, "kept"),
        (item(), None, {"keeps": True}, "missing"),
    ],
)
def test_what_the_mode_explains_is_no_difference(expected, actual, terms, verdict):
    terms = {"keeps": False, "compared": None, "version": None} | terms
    assert judged(CODEC, expected, actual, **terms) == verdict


def test_a_hundred_percent_is_said_only_where_nothing_differs():
    found = Outcome(matched=99_999_999)
    assert found.consistency_percent == 100.0
    found.differs(differing_item(CODEC, {"PK": {"S": "p"}}, "missing", item(), None))
    assert found.consistency_percent == 99.9999
    assert (found.checked, found.left) == (100_000_000, 1)
    assert Outcome().consistency_percent == 100.0
