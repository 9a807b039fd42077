"""What a user would lose if a number were rounded, or one number had two spellings as a key."""

import polars as pl
import pytest

from connectors.dynamodb.documents import number_sizes
from connectors.dynamodb.documents.numbers import number
from connectors.dynamodb.encoding import numbers
from engine.kinds import Decimal, Scalar


@pytest.mark.parametrize(
    ("text", "shortest", "size"),
    [
        ("0", "0", 1),
        ("-0.000", "0", 1),
        ("0e99999999999", "0", 1),
        ("12.50", "12.5", 3),
        ("1.5", "1.5", 3),
        ("15", "15", 2),
        ("-1.5", "-1.5", 4),
        ("123.456", "123.456", 5),
        ("0.00012", "0.00012", 3),
        ("1010", "1010", 3),
        ("-1." + "1" * 37, "-1." + "1" * 37, 21),
        ("100", "100", 2),
        ("+007", "7", 2),
        (".5", "0.5", 2),
        ("5.", "5", 2),
        ("-1.5e30", "-1500000000000000000000000000000", 4),
        ("1e39", "1" + "0" * 39, 2),
        ("1e40", "1E+40", 2),
        ("12e-40", "1.2E-39", 2),
        ("1E-130", "1E-130", 2),
        ("1.5E-130", "1.5E-130", 3),
        ("-" + "9" * 38 + "e88", "-9." + "9" * 37 + "E+125", 21),
        ("0." + "0" * 20 + "1" * 38, "1." + "1" * 37 + "E-21", 20),
        ("1" + "0" * 60 + ".0", "1E+60", 2),
    ],
)
def test_a_number_is_its_shortest_exact_text(text, shortest, size):
    assert number(text) == (shortest, size, None)
    assert number(shortest) == (shortest, size, None)
    assert number_sizes.exact(pl.Series(["7.5", None, shortest])).to_list() == [3, 0, size]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1" * 39, "number_precision"),
        ("0." + "1" * 39, "number_precision"),
        ("1E+126", "number_range"),
        ("1E-131", "number_range"),
        ("1e999999999999999999999", "number_range"),
        ("NaN", "number_not_finite"),
        ("-Infinity", "number_not_finite"),
        ("inf", "number_not_finite"),
        ("", "value_unsupported"),
        (".", "value_unsupported"),
        ("1.5.0", "value_unsupported"),
        ("1,5", "value_unsupported"),
        (" 1", "value_unsupported"),
        ("1\n", "value_unsupported"),
        ("٣", "value_unsupported"),
        ("0x1f", "value_unsupported"),
        ("1_000", "value_unsupported"),
    ],
)
def test_what_is_no_number_for_dynamodb_has_its_reason_and_stays_as_it_is(text, reason):
    found = number(text)
    assert found.text == text
    assert found.flaw is not None
    assert found.flaw.startswith(f"{reason}: ")
    column = numbers.shortest(pl.Series(["1.0", None, text]), Scalar.NUMBER)
    assert (column.text.to_list(), list(column.flaws)) == (["1", None, text], [2])


def test_a_column_is_not_altered_by_what_is_made_of_it():
    values = pl.Series(["1.50", "1e3"])
    assert numbers.shortest(values, Scalar.FLOAT).text.to_list() == ["1.5", "1000"]
    assert values.to_list() == ["1.50", "1e3"]


def test_a_decimal_column_may_hold_nan_and_whole_numbers():
    found = numbers.shortest(pl.Series(["1.50", "NaN", "20", None, "0.00"]), Decimal(5, 2))
    assert found.text.to_list() == ["1.5", "NaN", "20", None, "0"]
    assert list(found.flaws) == [1]


def test_no_numbers_at_all():
    assert numbers.shortest(pl.Series([None], dtype=pl.String), Scalar.NUMBER).text.to_list() == [None]
    assert numbers.shortest(pl.Series([], dtype=pl.String), Decimal(5, 2)).text.to_list() == []
