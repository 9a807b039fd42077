"""Canonical text to types and back: the same value, or a loss that is noticed."""

import polars as pl
import pytest

from connectors.dynamodb.documents.codec import DOCUMENTS
from engine.errors import JobError
from engine.kinds import Decimal, Document, ListOf, Scalar, StructOf
from engine.rules.rows import read
from engine.rules.typed import canonical, lost, typed, typed_dtype
from tests.support.rules import batch

S = Scalar
PAIRS = StructOf((("n", S.INT), ("at", S.TIMESTAMP)))


def there_and_back(kind, values):
    frame = read(batch({"v": (kind, values)}), ["v"])
    column = frame.select(typed(pl.col("v"), kind, DOCUMENTS).alias("v"))
    assert column.dtypes == [typed_dtype(kind)]
    text, back = canonical(pl.col("v"), column.dtypes[0], "v", kind, DOCUMENTS)
    return back, column.select(text.alias("v")).to_series().to_list()


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (S.INT, ["-9223372036854775808", "0", None]),
        (S.NUMBER, ["1234567890123456789012345678901234567890.5", "NaN"]),
        (Decimal(38, 3), ["12345678901234567890123456789012345.678", "-0.001", "7.000"]),
        (S.FLOAT, ["0.1", "5e-324", "1.7976931348623157e+308", "NaN", "Infinity", "-Infinity", "3"]),
        (S.BOOL, ["true", "false", None]),
        (S.STRING, ["", "é\0", "NaN"]),
        (S.BINARY, ["", "/+8=", "AA=="]),
        (S.TIMESTAMPTZ, ["2024-01-15T10:00:00Z", "0001-01-01T00:00:00.000001Z", "9999-12-31T23:59:59.12Z"]),
        (S.TIMESTAMP, ["2024-01-15T10:00:00", "2024-01-15T10:00:10.1", "1969-12-31T23:59:59.999999"]),
        (S.DATE, ["2024-02-29", "0001-01-01", "9999-12-31", "-0043-03-15"]),
        (S.TIME, ["00:00:00", "23:59:59.100001", "10:20:00"]),
        (ListOf(ListOf(S.INT)), [[["1", None], None, []], None, []]),
        (PAIRS, [{"n": "1", "at": "2024-01-15T10:00:00"}, {"n": None, "at": None}, None]),
        (ListOf(PAIRS), [[{"n": "1", "at": None}, None]]),
    ],
)
def test_values_survive_the_way_there_and_back(kind, values):
    assert there_and_back(kind, values) == (kind, values)


def test_documents_are_json_texts_on_the_way():
    text = '{"n":12345678901234567890.5,"l":[null,true,"é"],"b":{}}'
    frame = read(batch({"v": (Document(), [text, "null", None])}), ["v"])
    assert frame.select(typed(pl.col("v"), Document(), DOCUMENTS)).to_series().to_list() == [
        text,
        "null",
        None,
    ]
    kind, (back, null, nothing) = there_and_back(Document(), [text, "null", None])
    assert kind == Document()
    assert (back, null["wire"], nothing) == (frame.get_column("v")[0], '{"NULL":true}', None)


@pytest.mark.parametrize(
    ("kind", "values", "losses"),
    [
        (
            S.TIMESTAMP,
            ["infinity", "2024-01-15T10:00:00", "12024-01-01T00:00:00", None],
            [True, False, True, False],
        ),
        (S.DATE, ["-infinity", None], [True, False]),
        (S.TIME, ["24:00:00", "10:00:00"], [True, False]),
        (Decimal(5, 2), ["NaN", "999.99", None], [True, False, False]),
        (Document(), ['{"a":1,"a":2}', "{}", None], [True, False, False]),
        (ListOf(S.DATE), [["2024-01-01", None], ["infinity"], None, []], [False, True, False, False]),
        (PAIRS, [{"n": "1", "at": "infinity"}, {"n": "1", "at": None}, None], [True, False, False]),
        (ListOf(PAIRS), [[{"n": "1", "at": "infinity"}, None], [None], None], [True, False, False]),
    ],
)
def test_what_has_no_type_is_told_from_null(kind, values, losses):
    frame = read(batch({"v": (kind, values)}), ["v"])
    expr = lost(pl.col("v"), kind)
    assert expr is not None
    assert frame.select(expr).to_series().to_list() == losses


@pytest.mark.parametrize("kind", [S.STRING, S.NUMBER, S.BOOL, S.BINARY, ListOf(S.STRING)])
def test_kinds_that_lose_nothing_cost_no_look(kind):
    assert lost(pl.col("v"), kind) is None


@pytest.mark.parametrize(
    ("series", "kind", "texts"),
    [
        (pl.Series([1, None], dtype=pl.UInt8), S.INT, ["1", None]),
        (pl.Series([2**100], dtype=pl.Int128), S.NUMBER, [str(2**100)]),
        (pl.Series([0.1], dtype=pl.Float32), S.FLOAT, ["0.1"]),
        (pl.Series(["a"], dtype=pl.Categorical), S.STRING, ["a"]),
        (pl.Series(["a"], dtype=pl.Enum(["a"])), S.STRING, ["a"]),
        (pl.Series([None, None]), S.STRING, [None, None]),
        (pl.Series([[1, 2]], dtype=pl.Array(pl.Int8, 2)), ListOf(S.INT), [["1", "2"]]),
        (pl.Series([1_500_000_000], dtype=pl.Datetime("ns")), S.TIMESTAMP, ["1970-01-01T00:00:01.5"]),
        (pl.Series([0], dtype=pl.Datetime("ms", "Asia/Tokyo")), S.TIMESTAMPTZ, ["1970-01-01T00:00:00Z"]),
    ],
)
def test_other_types_that_an_expression_may_give(series, kind, texts):
    expr, found = canonical(pl.col(""), series.dtype, "x")
    assert found == kind
    assert series.to_frame().select(expr).to_series().to_list() == texts


@pytest.mark.parametrize("dtype", [pl.Duration("us"), pl.Object(), pl.List(pl.Duration("us"))])
def test_types_without_exact_text_are_refused(dtype):
    with pytest.raises(JobError, match=r"x gives values of type .* cast them to text"):
        canonical(pl.col("v"), dtype, "x")
