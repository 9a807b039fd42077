"""From items' keys to rules and rows: patterns hold what rules make; it leads to its row."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.dynamodb.reading.codec import TableCodec
from engine.batch import Cursor
from engine.commands.verify.inversion import KeyInversion
from engine.commands.verify.key_patterns import KeyPatterns, patterns_of_jobs
from engine.kinds import ListOf, Scalar, StructOf
from tests.support.rules import job, schema

S = Scalar
CODEC = TableCodec((("PK", "S"), ("SK", "S")))
KINDS = {
    "id": S.INT,
    "shop": S.STRING,
    "at": S.TIMESTAMPTZ,
    "lines": ListOf(StructOf((("sku", S.STRING),))),
}


def key(pk, sk="#"):
    return {"PK": {"S": pk}, "SK": {"S": sk}}


def patterns(*rules, transform=None):
    made = [(job(*rules, transform=transform), schema(KINDS, [frozenset({"id"})]))]
    return KeyPatterns(CODEC, patterns_of_jobs(made, ("PK", "SK")))


@pytest.mark.parametrize(
    ("made", "not_made"),
    [
        ({"PK": "ORDER#{id}", "SK": "#"}, [key("ORDER#x7"), key("ORDER7"), key("ORDER#7", "#1"), key("7")]),
        ({"PK": "USER#{shop}", "SK": "#"}, [key("USR#a"), key("USER#a", "")]),
        ({"PK": "D#{at:%Y-%m-%d}#{id}", "SK": "#"}, [key("D#2024-1x#1")]),
    ],
)
def test_other_keys_are_none_of_its_business(made, not_made):
    held = patterns({"key": made})
    text = (
        made["PK"].replace("{id}", "-7").replace("{shop}", "a}{\n.*").replace("{at:%Y-%m-%d}", "2024-01-31")
    )
    assert held.hold(key(text))
    assert not any(held.hold(other) for other in not_made)


def test_one_rule_has_to_fit_the_whole_key():
    held = patterns({"key": {"PK": "A#{id}", "SK": "a"}}, {"key": {"PK": "B#{id}", "SK": "b"}})
    assert held.hold(key("A#1", "a"))
    assert held.hold(key("B#1", "b"))
    assert not held.hold(key("A#1", "b"))


def test_literal_signs_of_a_template_are_no_pattern():
    held = patterns({"key": {"PK": "A.*[{id}]", "SK": "#"}})
    assert held.hold(key("A.*[7]"))
    assert not held.hold(key("Axx[7]"))


def test_a_hook_may_make_any_text_of_a_column():
    rule = {"key": {"PK": "ORDER#{id}", "SK": "#"}}
    assert not patterns(rule).hold(key("ORDER#abc"))
    assert patterns(rule, transform="hooks.py:change").hold(key("ORDER#abc"))


class Source:
    """A source that can look rows up."""

    def __init__(self, key_columns, identities):
        self.ticket = SimpleNamespace(schema=replace(schema(KINDS, identities), key=key_columns))
        self.abilities = SimpleNamespace(lookup=self if key_columns else None)


def inverse(*rules, key_columns=("id",), transform=None):
    made = job(*rules, transform=transform)
    source = Source(key_columns, [frozenset(key_columns)])
    info = SimpleNamespace(key=("PK", "SK"))
    return KeyInversion(SimpleNamespace(source=source, job=made, info=info, codec=CODEC))  # type: ignore[arg-type]


def test_a_key_leads_back_to_its_row():
    found = inverse({"key": {"PK": "ORDER#{id}", "SK": "AT#{at}"}})
    assert found.complete
    assert found.cursors(key("ORDER#17", "AT#2024-01-31T00:00:00Z")) == [Cursor(("17",))]
    assert found.cursors(key("ORDER#x", "AT#")) == []


def test_the_source_key_comes_in_its_own_order_from_both_attributes():
    found = inverse({"key": {"PK": "O#{id}", "SK": "S#{shop}"}}, key_columns=("shop", "id"))
    assert found.cursors(key("O#17", "S#a#b")) == [Cursor(("a#b", "17"))]


def test_every_rule_that_fits_has_its_say():
    found = inverse({"key": {"PK": "{id}", "SK": "#"}}, {"key": {"PK": "{id}", "SK": "{shop}"}})
    assert found.cursors(key("17", "#")) == [Cursor(("17",)), Cursor(("17",))]


@pytest.mark.parametrize(
    "rule",
    [
        {"key": {"PK": "USER#{shop}", "SK": "#"}},
        {"key": {"PK": "ORDER#{id:05d}", "SK": "#"}},
        {"key": {"PK": "{id}{id}", "SK": "#"}},
    ],
)
def test_a_key_that_does_not_tell_its_row_is_not_read_backwards(rule):
    found = inverse(rule)
    assert not found.complete
    assert found.cursors(key("USER#a")) == []


def test_nothing_is_read_backwards_behind_a_hook():
    assert not inverse({"key": {"PK": "{id}", "SK": "#"}}, transform="hooks.py:change").complete


@given(shop=st.text(), ident=st.integers())
def test_any_text_leads_back_to_its_row(shop, ident):
    found = inverse({"key": {"PK": "O#{shop}", "SK": "S#{id}#"}}, key_columns=("shop", "id"))
    assert found.cursors(key(f"O#{shop}", f"S#{ident}#")) == [Cursor((shop, str(ident)))]
    found = inverse({"key": {"PK": "O#{id}#{shop}", "SK": "{shop}"}}, key_columns=("id", "shop"))
    assert found.cursors(key(f"O#{ident}#{shop}", shop)) == [Cursor((str(ident), shop))]
