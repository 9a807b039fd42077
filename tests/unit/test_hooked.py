"""The hook: rows stay traceable, untouched values stay as they were, faults are told."""

import polars as pl
import pyarrow as pa
import pytest

from connectors.dynamodb.documents.codec import DOCUMENTS
from engine.batch import Batch
from engine.errors import JobError, PermanentError
from engine.kinds import Decimal, Document, ListOf, Scalar
from engine.rules.transform import compile_rules
from tests.support.rules import (
    batch,
    column_of,
    flaws_of,
    job,
    kinds_of,
    rows_of,
    schema,
    transformed,
    values_of,
)

S = Scalar
ALL = {"key": {"PK": "{id}"}, "include": "all", "exclude": ["id"]}
COLUMNS = {
    "id": (S.INT, ["1", "2", "3"]),
    "f": (S.FLOAT, ["1e+20", "3", "0.10"]),
    "n": (S.NUMBER, ["1e5", "NaN", None]),
    "doc": (Document(), ['{"x":1.50}', "null", None]),
    "docs": (ListOf(Document()), None),
    "at": (S.TIMESTAMPTZ, ["2024-01-15T10:00:00.5Z", None, "2024-01-15T10:00:00Z"]),
    "b": (S.BINARY, ["aGk=", "", None]),
}
del COLUMNS["docs"]


def test_what_the_hook_leaves_alone_is_written_as_without_it():
    (plain,) = transformed(COLUMNS, ALL)
    (hooked,) = transformed(COLUMNS, ALL, hook=lambda frame: frame)
    assert kinds_of(hooked) == kinds_of(plain)
    assert hooked.frame.equals(plain.frame)


def test_values_that_it_changes_beside_others_that_it_doesnt():
    def hook(frame):
        second = pl.col("id") == 2
        return frame.with_columns(
            pl.when(second).then(2.5).otherwise("f").alias("f"),
            pl.when(second).then(pl.lit('{"y":[12345678901234567890]}')).otherwise("doc").alias("doc"),
            pl.when(second).then(pl.lit("7")).otherwise("n").alias("n"),
        )

    (items,) = transformed(COLUMNS, ALL, hook=hook)
    assert column_of(items, "f") == ["1e+20", "2.5", "0.10"]
    assert column_of(items, "n") == ["1e5", "7", None]
    assert column_of(items, "doc") == [
        '{"M":{"x":{"N":"1.5"}}}',
        '{"M":{"y":{"L":[{"N":"12345678901234567890"}]}}}',
        None,
    ]
    assert {name: kinds_of(items)[name] for name in ("f", "n", "doc")} == {
        "f": S.FLOAT,
        "n": S.NUMBER,
        "doc": Document(),
    }


def test_it_may_add_change_and_drop_columns_and_rules_see_the_result():
    def hook(frame):
        return frame.select(
            "__row", "id", pl.col("f").cast(pl.Int64).alias("whole"), size=pl.lit(3, pl.Decimal(5, 1))
        )

    columns = {"id": (S.INT, ["1"]), "f": (S.FLOAT, ["2.0"])}
    rule = {**ALL, "when": "whole = 2", "attributes": {"t": "{whole:03d}"}}
    (items,) = transformed(columns, rule, hook=hook)
    assert values_of(items) == [{"PK": "1", "whole": "2", "size": "3.0", "t": "002"}]
    assert kinds_of(items)["size"] == Decimal(5, 1)
    with pytest.raises(JobError, match="there is no column 'f'"):
        transformed(columns, {"key": {"PK": "{f}"}}, hook=hook)


def test_it_may_drop_repeat_and_reorder_rows_and_items_keep_the_sources_order():
    def hook(frame):
        return pl.concat([frame, frame]).filter(pl.col("id") != 2).sort("id", descending=True)

    (items,) = transformed(COLUMNS, ALL, hook=hook)
    assert rows_of(items) == [0, 0, 2, 2]
    assert column_of(items, "f") == ["1e+20", "1e+20", "0.10", "0.10"]


def test_a_row_that_it_cant_be_given_is_a_flawed_item_of_every_rule():
    columns = {"id": (S.INT, ["1", "2", "3"]), "at": (S.DATE, ["2024-01-01", "infinity", "2024-01-03"])}
    first, second = transformed(
        columns, ALL, {"key": {"PK": "{id}"}, "when": "id = 3"}, hook=lambda frame: frame
    )
    flaw = "value_unsupported: transform jobs:hook can't be given the value of at"
    assert (rows_of(first), flaws_of(first)) == ([0, 1, 2], [None, flaw, None])
    assert (rows_of(second), flaws_of(second)) == ([1, 2], [flaw, None])
    assert values_of(first)[1] == {}


def test_it_isnt_given_columns_that_only_serve_the_cursor():
    seen = []

    def hook(frame):
        seen.append(frame.collect_schema().names())
        return frame

    kinds = {"id": S.INT, "secret": S.STRING}
    compile_rules(job(ALL, transform="jobs:hook"), schema(kinds, hidden=["secret"]), hook, DOCUMENTS)
    assert seen == [["__row", "id"]]


@pytest.mark.parametrize(
    ("hook", "sentence"),
    [
        (lambda frame: frame.select("id"), "transform jobs:hook loses the column __row"),
        (lambda frame: frame.with_columns(pl.col("__row").cast(pl.Int64)), "loses the column __row"),
        (lambda frame: frame.collect(), "returns DataFrame; it must return a LazyFrame"),
        (
            lambda frame: frame.with_columns(x=pl.col("nope")),
            "fails on a frame without rows: ColumnNotFoundError",
        ),
        (lambda frame: 1 / 0, "fails on a frame without rows: ZeroDivisionError: division by zero"),
        (
            lambda frame: frame.with_columns(x=pl.duration(days=1)),
            "transform jobs:hook: x gives values of type",
        ),
    ],
)
def test_mistakes_are_told_before_reading(hook, sentence):
    with pytest.raises(JobError, match=sentence):
        transformed(COLUMNS, ALL, hook=hook)


def test_a_column_of_the_name_by_which_rows_are_traced_is_refused():
    with pytest.raises(JobError, match="the source has a column __row"):
        transformed({"__row": (S.INT, ["1"])}, {"key": {"PK": "{__row}"}}, hook=lambda frame: frame)


@pytest.mark.parametrize(
    ("later", "sentence"),
    [
        (
            lambda frame: frame.with_columns(pl.col("f").cast(pl.String)),
            "gives f as String, and gave it as Float64",
        ),
        (lambda frame: frame.drop("f"), "gives f as None, and gave it as Float64"),
        (lambda frame: frame.with_columns(new=1), "gives new as Int32, and gave it as None"),
        (lambda frame: frame.with_columns(__row=pl.lit(9, pl.UInt32)), "invents values of __row"),
        (lambda frame: frame.with_columns(__row=pl.lit(None, pl.UInt32)), "invents values of __row"),
        (lambda frame: 1 / 0, "transform jobs:hook failed: ZeroDivisionError: division by zero"),
    ],
)
def test_what_goes_wrong_with_rows_stops_the_run(later, sentence):
    def hook(frame):
        return later(frame) if frame.collect().height else frame

    with pytest.raises(PermanentError, match=sentence):
        transformed(COLUMNS, ALL, hook=hook)


def test_an_empty_batch():
    kinds = {name: kind for name, (kind, _) in COLUMNS.items()}
    rows = schema(kinds)
    empty = Batch(0, 0, pa.RecordBatch.from_pylist([], schema=rows.arrow()), None)
    (items,) = compile_rules(job(ALL, transform="jobs:hook"), rows, lambda frame: frame, DOCUMENTS)(empty)
    assert items.frame.height == 0
    assert batch(COLUMNS).rows.schema.equals(rows.arrow())


def test_what_the_job_says_the_hook_keeps_it_is_held_to():
    def hook(frame):
        return frame.with_columns(pl.col("id") + 1, pl.lit(1.5).alias("f")).filter(pl.col("id") != 3)

    (items,) = transformed(COLUMNS, ALL, hook=lambda frame: frame.drop("f"), keeps=["id"])
    assert len(rows_of(items)) == len(COLUMNS["id"][1])
    with pytest.raises(PermanentError, match=r"changes id, which transform.keeps says it leaves alone; mend"):
        transformed(COLUMNS, ALL, hook=hook, keeps=["id"])
    (items,) = transformed(COLUMNS, ALL, hook=hook)  # nobody has promised anything
    with pytest.raises(PermanentError, match=r"gives a row twice, and transform.keeps promises"):
        transformed(COLUMNS, ALL, hook=lambda frame: pl.concat([frame, frame]), keeps=["id"])


def test_a_hook_may_leave_rows_out_and_change_their_order_whatever_it_keeps():
    def hook(frame):
        return frame.reverse().head(1)

    (items,) = transformed(COLUMNS, ALL, hook=hook, keeps=["id"])
    assert rows_of(items) == [len(COLUMNS["id"][1]) - 1]


@pytest.mark.parametrize(
    ("keeps", "sentence"),
    [
        ("other", "transform.keeps: other is a column that transform jobs:hook isn't given by the source"),
        ("f", "transform.keeps: f is a column that transform jobs:hook doesn't give as it gets it"),
        ("id", "transform.keeps: id is a column that transform jobs:hook doesn't give as it gets it"),
    ],
)
def test_what_a_hook_cant_keep_is_told_before_reading(keeps, sentence):
    def hook(frame):
        return frame.drop("f").with_columns(pl.col("id").cast(pl.String))

    with pytest.raises(JobError, match=sentence):
        transformed(COLUMNS, {"key": {"PK": "{id}"}}, hook=hook, keeps=[keeps])
