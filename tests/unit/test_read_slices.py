"""Items are cut out of a text as they are, or not at all; what is the same has the same hashes."""

import json
import random

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.dynamodb.reading.digests import digests, digests_of, parsed, sliced
from connectors.dynamodb.reading.slices import array, cut, one_by_one
from engine.documents import walking

KEY = (("PK", "S"), ("SK", "N"))
AWKWARD = [
    '},"',
    '"}},{"',
    "\\",
    '\\"',
    '"',
    "{[",
    "]}",
    'S":[',
    '"M":{',
    "/",
    "é\u2028\U0001f600",
    "\x01\n\t",
]

TEXTS = st.one_of(st.text(max_size=6), st.lists(st.sampled_from(AWKWARD), max_size=4).map("".join))
NAMES = TEXTS.filter(bool)
SCALARS = st.one_of(
    TEXTS.map(lambda text: {"S": text}),
    st.integers(-99, 99).map(lambda number: {"N": str(number)}),
    st.booleans().map(lambda value: {"BOOL": value}),
    st.just({"NULL": True}),
    st.sets(TEXTS, min_size=1, max_size=3).map(lambda members: {"SS": sorted(members)}),
    st.sets(st.integers(0, 9), min_size=1, max_size=3).map(lambda each: {"NS": [str(one) for one in each]}),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda members: {"L": members}),
        st.dictionaries(TEXTS, inner, max_size=3).map(lambda members: {"M": members}),
    ),
    max_leaves=6,
)
ITEMS = st.builds(
    lambda key, number, others: {**others, "PK": {"S": key}, "SK": {"N": str(number)}},
    NAMES,
    st.integers(),
    st.dictionaries(NAMES.filter(lambda name: name not in dict(KEY)), VALUES, max_size=4),
)


def shuffled(value, rng):
    """The same value with members in another order."""
    if isinstance(value, dict):
        members = [(name, shuffled(each, rng)) for name, each in value.items()]
        rng.shuffle(members)
        found = dict(members)
        for kind in found.keys() & {"SS", "NS"}:
            if isinstance(found[kind], list):
                rng.shuffle(found[kind])
        return found
    return [shuffled(each, rng) for each in value] if isinstance(value, list) else value


@given(st.lists(ITEMS, max_size=5))
def test_items_come_out_as_they_went_in(items):
    for found in (sliced(orjson.dumps(items), len(items)), array(items), one_by_one(items)):
        assert parsed(found) == items
        texts = [found.attribute(at) for at in range(len(found.starts))]
        assert [orjson.loads(b"{" + text + b"}") for text in texts] == [
            {name: value} for item in items for name, value in item.items()
        ]


@pytest.mark.skipif(walking._WALK is None, reason=f"documents are walked {walking.WAY}")
@given(st.lists(ITEMS, max_size=5))
def test_both_ways_find_the_same_and_c_takes_all_that_is_compact(items):
    found, alone = cut(orjson.dumps(items), 2), one_by_one(items)
    for one, other in ((found.first, alone.first), (found.stops - found.starts, alone.stops - alone.starts)):
        assert one.tolist() == other.tolist()
    loose = set(found.loose.tolist())
    assert {at for at in range(len(found.starts)) if b"\\u" in found.attribute(at)} <= loose
    named_so = {at for at in alone.loose.tolist() if found.attribute(at).startswith(b'"M":{')}
    assert set(alone.loose.tolist()) - named_so <= loose


@settings(deadline=None)  # the first one waits for Polars to get ready
@given(st.lists(ITEMS, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_order_and_spelling_do_not_matter(items, rng):
    others = [shuffled(item, rng) for item in items]
    # json escapes whatever isn't ASCII, and this server the slash, too
    spelled = json.dumps(others, separators=(",", ":")).replace("/", "\\/").encode()
    one, other = digests(one_by_one(items), KEY), digests(sliced(spelled, len(items)), KEY)
    assert (one.keys == other.keys).all()
    assert (one.contents == other.contents).all()
    spaced = digests(sliced(json.dumps(others).encode(), len(items)), KEY)
    assert (one.contents == spaced.contents).all()


@given(ITEMS, ITEMS)
def test_different_items_have_different_hashes(one, other):
    same = bool(digests_of([one], KEY).contents == digests_of([other], KEY).contents)
    assert same == (shuffled(one, random.Random(0)) == shuffled(other, random.Random(0)) or equal(one, other))


def equal(one, other):
    """Whether items are the same but for the order of sets."""

    def settled(value):
        if isinstance(value, dict):
            return {
                name: sorted(each) if name in ("SS", "NS") and isinstance(each, list) else settled(each)
                for name, each in value.items()
            }
        return [settled(each) for each in value] if isinstance(value, list) else value

    return settled(one) == settled(other)


@given(ITEMS, st.data())
def test_a_flipped_byte_is_never_the_same_item(item, data):
    text = bytearray(orjson.dumps([item]))
    text[data.draw(st.integers(0, len(text) - 1))] ^= 1 << data.draw(st.integers(0, 6))
    try:
        damaged = orjson.loads(bytes(text))
    except ValueError:
        return
    if not isinstance(damaged, list) or len(damaged) != 1 or not isinstance(damaged[0], dict):
        return
    found = cut(bytes(text), 2)
    if found is not None and len(found) == 1 and not equal(damaged[0], item):
        texts = sorted(found.attribute(at) for at in range(len(found.starts)))
        whole = sliced(orjson.dumps([item]), 1)
        assert texts != sorted(whole.attribute(at) for at in range(len(whole.starts)))


@pytest.mark.parametrize(
    "text",
    [
        b'[{"a":{"S":"x"}',
        b'[{"a":{"S":"x}}]',
        b'[{"a":{"S":"x"}} ]x]',
        b'[{"a": {"S":"x"}, "b":{"S":"x"}}]',
        b'[{"a":{"S":"x"} }]',
        b'[{"a":{"S":"x"}},{}]',
        b'[{"a":{"S": "x"}}]',
        b'[["a":{"S":"x"}]]',
        b'[{"a":["S","x"]}]',
        b'[{"a":{"S":"x"}{"b":{"S":"x"}}]',
        b'[{"a",{"S":"x"}}]',
        b"[{}]",
        b"[{",
        b"]",
        b'"x',
    ],
)
def test_what_is_not_made_of_items_is_not_cut(text):
    assert cut(text, 2) is None


def test_nothing_is_cut_into_nothing():
    assert len(sliced(b"[]", 0)) == len(array([])) == len(one_by_one([])) == 0
    assert digests_of([], KEY).keys.tolist() == []


def test_items_that_are_not_all_there_are_told():
    text = orjson.dumps([{"PK": {"S": "a"}, "SK": {"N": "1"}}])
    with pytest.raises(ValueError, match="unexpected end"):
        sliced(text[:-3], 1)


def test_a_number_in_a_key_has_one_hash_in_every_form():
    texts = ["1" + "0" * 50, "1E+50", "10E49"]
    keys = digests_of([{"PK": {"S": "a"}, "SK": {"N": text}} for text in texts], KEY).keys
    assert len(np.unique(keys)) == 1
