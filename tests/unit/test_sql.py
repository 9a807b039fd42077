"""SQL of rules: one row at a time, and an error costs only its own row."""

import polars as pl
import pytest

from engine.errors import JobError
from engine.kinds import Decimal, Scalar
from engine.rules.sql import compiled, condition, evaluated
from tests.support.rules import attribute

S = Scalar
TYPES = {
    "a": pl.Int64(),
    "b": pl.Int64(),
    "s": pl.String(),
    "d": pl.Date(),
    "at": pl.Datetime("us", "UTC"),
    "p": pl.Decimal(10, 2),
    "l": pl.List(pl.Int64()),
    "x.y": pl.String(),
    "r": pl.Struct({"f": pl.String()}),
}
FRAME = pl.DataFrame(
    {
        "a": [1, 2, None],
        "b": [10, 0, 30],
        "s": ["x1", "7", None],
        "d": [None, None, None],
        "at": [None, None, None],
        "p": ["1.50", None, "-3.00"],
        "l": [[1], [], None],
        "x.y": ["q", "q", "q"],
        "r": [{"f": "g"}, {"f": None}, None],
    },
    schema_overrides=TYPES,
)


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("a + b", S.INT, ["11", "2", None]),
        ("p", Decimal(10, 2), ["1.50", None, "-3.00"]),
        ("lower(s) || '!'", S.STRING, ["x1!", "7!", None]),
        ("a > 1", S.BOOL, ["false", "true", None]),
        ("coalesce(s, 'none')", S.STRING, ["x1", "7", "none"]),
        ("CASE WHEN a = 1 THEN 'one' ELSE 'more' END", S.STRING, ["one", "more", "more"]),
        ("a IN (1, 5)", S.BOOL, ["true", "false", None]),
        ("s LIKE 'x%'", S.BOOL, ["true", "false", None]),
        ("round(p, 1)", Decimal(11, 2), ["1.50", None, "-3.00"]),
        ("'constant'", S.STRING, ["constant"] * 3),
        ("NULL", S.STRING, [None] * 3),
        ('"x.y"', S.STRING, ["q"] * 3),
        ("r.f", S.STRING, ["g", None, None]),
        ("array_length(l)", S.INT, ["1", "0", None]),
        ("a IS DISTINCT FROM b", S.BOOL, ["true", "true", "true"]),
        ("greatest(a, b)", S.INT, ["10", "2", "30"]),
        ("split_part(s, 'x', 2)", S.STRING, ["1", "", None]),
        ("TRY_CAST(s AS INT)", S.INT, [None, "7", None]),
        ("STRPTIME(s, '%Y')", S.TIMESTAMP, None),
        ("DATE '2024-01-15'", S.DATE, ["2024-01-15"] * 3),
        ("CAST(d AS TIMESTAMP)", S.TIMESTAMP, [None] * 3),
        ("TRY_CAST(s AS DOUBLE) > 6.5", S.BOOL, [None, "true", None]),
        ("p > 1.25 AND p <> a AND p > 0.5e0", S.BOOL, ["true", None, "false"]),
        ("s = NULL OR s IN ('7') OR s = lower(s)", S.BOOL, ["true", "true", None]),
        ("d < at", S.BOOL, [None] * 3),
    ],
)
def test_expressions_by_row(text, kind, values):
    sql = compiled(text, TYPES, "v")
    assert sql.kind == kind
    if values is not None:
        result, faults = evaluated(FRAME, sql.expr)
        assert result.to_list() == values
        assert faults == {}


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("a - avg(a)", "the aggregate mean"),
        ("count(*)", "the aggregate count"),
        ("max(a) + 1", "the aggregate max"),
        ("first(a)", "the aggregate first"),
        ("sum(a) OVER (PARTITION BY s)", "a window function"),
        ("row_number() OVER (ORDER BY a)", "a window function"),
        ("lag(a) OVER (ORDER BY b)", "a window function"),
        ("CASE WHEN a > 1 THEN max(b) ELSE 0 END", "the aggregate max"),
        ("coalesce(s, min(s))", "the aggregate min"),
        ("array_agg(a)", "the aggregate"),
        ("unnest(l)", "explode"),
        ("a = ANY(b)", "IN with a column at its right"),
        ("date(s)", "a date's format guessed"),
        ("CAST(s AS DATE)", "a date's format guessed"),
        ("CAST(upper(s) AS TIMESTAMP)", "a date's format guessed"),
        ("TRY_CAST(s AS TIME)", "a date's format guessed"),
    ],
)
def test_what_looks_at_other_rows_is_refused(text, culprit):
    with pytest.raises(JobError) as caught:
        compiled(text, TYPES, "v")
    assert f"uses {culprit}" in str(caught.value)
    assert "one row at a time" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lower(", "isn't an SQL expression that Polars knows"),
        ("nosuch(a)", "isn't an SQL expression that Polars knows"),
        ("aa + 1", "names no known column: 'aa'; did you mean 'a'"),
        ("s > 5", r"can't be computed.*CAST\(s AS DOUBLE\)"),
        ("s > 6.7", r"compares text with a number; .*CAST\(s AS DOUBLE\)"),  # Polars: '10' is less than '6.7'
        ("s <> 1.50", "compares text with a number"),
        ("NOT (s IS DISTINCT FROM p)", "compares text with a number"),
        ("s BETWEEN 1.0 AND 2.0", "compares text with a number"),
        ("nullif(s, 0.0)", "compares text with a number"),
        ("CASE s WHEN 1.5 THEN 'a' END", "compares text with a number"),
        ("a > 1 AND p > '5'", "compares text with a number"),
        ("coalesce(s, 'x') = p", "compares text with a number"),
        ("at > 1700000000", "compares a moment with a number"),
        ("greatest(d, a)", "compares a moment with a number"),
        ("at > '2024-01-01'", "can't be computed.*is written TIMESTAMPTZ '2024-01-15T10:00:00Z'"),
        ("d > '2024-01-01'", "can't be computed.*is written DATE '2024-01-15'"),
        ("r.g", "can't be computed"),
        ("at - at", "cast them to text"),
        ("a IN (SELECT 1)", "holds a query"),
    ],
)
def test_mistakes_are_told_before_reading(text, sentence):
    with pytest.raises(JobError, match=sentence):
        compiled(text, TYPES, "v")


def test_a_condition_must_be_true_or_false():
    with pytest.raises(JobError, match="not true or false; make it a comparison"):
        condition("a + 1", TYPES)
    assert evaluated(FRAME, condition("a > 1", TYPES).expr)[0].to_list() == [False, True, None]
    assert evaluated(FRAME, condition("NULL", TYPES).expr)[0].to_list() == [None] * 3


def test_an_error_costs_only_its_own_rows():
    sql = compiled("CAST(s AS INT)", TYPES, "v")
    values, faults = evaluated(pl.concat([FRAME] * 3), sql.expr)
    assert values.to_list() == [None, "7", None] * 3
    assert sorted(faults) == [0, 3, 6]
    assert faults[0].startswith("conversion from `str` to `i32` failed")


def test_a_row_that_cant_be_computed_with_is_a_flaw_even_when_sql_hides_the_null():
    columns = {"id": (S.INT, ["1", "2"]), "p": (Decimal(5, 2), ["NaN", "2.00"])}
    kind, values, flaws = attribute(columns, {"sql": "p + 1"})
    assert (kind, values[1]) == (Decimal(38, 2), "3.00")
    assert flaws == ["value_unsupported: a needs p, which holds a value that SQL can't compute with", None]
    _, _, flaws = attribute(columns, {"sql": "coalesce(p, 0)"})
    assert flaws[0] is not None


@pytest.mark.parametrize(
    ("text", "wraps"),
    [
        ("n * 4", True),
        ("n * 4 > 0", True),
        ("n * 4 / 4", True),
        ("n + n", True),
        ("-n - n - n", True),
        ("CAST(s AS INT) * 1000000", True),
        ("coalesce(n * 4, 0)", True),
        ("pow(n, 2)", True),
        ("n + 1", False),
        ("n - n", False),
        ("s || 'x'", False),
        ("n / 3 + 0.5", False),
        ("substr(s, 1, id + 1)", False),
    ],
)
def test_integers_that_leave_64_bits_are_a_flaw_not_another_number(text, wraps):
    columns = {"id": (S.INT, ["1", "2"]), "n": (S.INT, [str(2**62), None]), "s": (S.STRING, ["99999", None])}
    _, _, flaws = attribute(columns, {"sql": text})
    flaw = "value_unsupported: a goes beyond what a 64-bit integer can hold"
    assert flaws == [flaw if wraps else None, None]
