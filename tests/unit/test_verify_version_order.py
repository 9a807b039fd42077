"""Ranks compare as the versions do."""

import base64
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from connectors.dynamodb.encoding.comparison import is_lower
from connectors.dynamodb.reading.codec import TableCodec
from engine.commands.verify.version_order import ranks_of

CODEC = TableCodec((("PK", "S"),))

NUMBERS = st.one_of(
    st.integers(-(10**38) + 1, 10**38 - 1).map(str),
    st.decimals(-1000, 1000, places=3).map(str),
    st.builds("{}{}E{}".format, st.sampled_from(["", "-"]), st.integers(1, 99), st.integers(-130, 124)),
    st.sampled_from(["0", "0.0", "-0", "1.50", "1.5", "1E-130", "9.9E+125", "-9.9E+125"]),
)
VERSIONS = st.one_of(
    st.lists(NUMBERS.map(lambda text: {"N": text}), min_size=2, max_size=2),
    st.lists(st.text(max_size=70).map(lambda text: {"S": text}), min_size=2, max_size=2),
    st.lists(
        st.binary(max_size=70).map(lambda octets: {"B": base64.b64encode(octets).decode()}),
        min_size=2,
        max_size=2,
    ),
)


@given(VERSIONS)
def test_a_lower_version_has_a_lower_rank(versions):
    one, other = versions
    ranks, whole = ranks_of(CODEC, versions)
    if whole.all():
        assert bool(ranks[0] < ranks[1]) == is_lower(one, other)
        assert bool(ranks[0] > ranks[1]) == is_lower(other, one)


@given(NUMBERS)
def test_every_number_and_every_usual_text_is_ranked_whole(number):
    assert abs(Decimal(number)) < Decimal("1E126")
    _, whole = ranks_of(CODEC, [{"N": number}, {"S": "2026-11-22T23:59:59.123456+00:00"}, {"S": "x" * 200}])
    assert whole.tolist() == [True, True, False]
