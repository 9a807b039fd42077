"""YAML: what a user wrote as text stays that text."""

from decimal import Decimal

import pytest

from engine.errors import JobError
from engine.job.yaml_core import parse_yaml


@pytest.mark.parametrize(
    "text",
    [
        "no", "yes", "on", "off", "y", "N", "2024-01-01", "2024-01-01 10:00:00", "12:30", "01234", "0x1F",
        "0o17", "0b1", "1_000", "+49", "1.", ".5", "1.2.3", ".inf", "NaN", "1e", "--1", "nil", "tRuE",
    ],
)  # fmt: skip
def test_a_plain_text_stays_as_it_was_written(text):
    assert parse_yaml(f"a: {text}") == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-12", -12),
        ("1.50", Decimal("1.50")),
        ("1e3", Decimal("1e3")),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("9" * 5000, Decimal("9" * 5000)),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'true'", "true"),
        ('"5"', "5"),
        ("!!str 5", "5"),
        ("!!float 5", Decimal(5)),
    ],
)
def test_numbers_booleans_and_null_are_exact(text, value):
    parsed = parse_yaml(f"a: {text}")["a"]
    assert parsed == value
    assert type(parsed) is type(value)
    assert str(parsed) == str(value)


def test_keys_are_text_whatever_they_look_like():
    assert parse_yaml("{on: {order_id: id}, 1: a, no: b, null: c, 2024-01-01: d}") == {
        "on": {"order_id": "id"},
        "1": "a",
        "no": "b",
        "null": "c",
        "2024-01-01": "d",
    }


def test_an_anchor_stands_for_what_it_names():
    assert parse_yaml("a: &x [1]\nb: *x") == {"a": [1], "b": [1]}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", "line 5, column 3: the key 'c' stands here twice"),
        ("a: b: c", "line 1, column 5: not valid YAML"),
        ("a: [", "line 1, column 5: not valid YAML"),
        ("a: 1\n--- b", "line 2, column 1: not valid YAML"),
        ("a: &x [*x]", "not valid YAML"),
        ("a: \x01", "not valid YAML"),
        ("? [a]\n: b", "line 1, column 3: a key must be plain text"),
        ("a: !!python/object/apply:os.getcwd []", "line 1, column 4: the type"),
        ("a: !!python/name:os.getcwd x", "line 1, column 4: the type"),
        ("a: !!timestamp 2024-01-01", "line 1, column 4: the type"),
        ("a: !!int abc", "line 1, column 4: this isn't of the type"),
        ("a: !!map [1]", "line 1, column 4: a mapping was announced"),
        ("a: !!seq {b: 1}", "line 1, column 4: a list was announced"),
        ("a: !!str [1]", "line 1, column 4: a single value was announced"),
        ("a: 1e99999999999999999999999", "line 1, column 4: this number's exponent"),
        ("[" * 5000, "not valid YAML"),
        (r'a: "\ud83d\ude00"', "line 1, column 4: an escape such as"),
        (r'"\ud83d": a', "line 1, column 1: an escape such as"),
    ],
)
def test_what_is_wrong_has_a_place(text, what):
    with pytest.raises(JobError) as caught:
        parse_yaml(text)
    assert what in str(caught.value)


def test_a_syntax_error_repeats_nothing_of_the_file():
    with pytest.raises(JobError) as caught:
        parse_yaml("url: postgres://user:hunter22@host: x")
    assert "hunter22" not in str(caught.value)
