"""The transform as a whole: every rule sees every row, and nothing else is touched."""

import pyarrow as pa

from connectors.dynamodb.documents.codec import DOCUMENTS
from engine.batch import Batch
from engine.contracts.transform import RuleShape
from engine.kinds import Column, RowSchema, Scalar
from engine.rules.transform import compile_rules
from tests.support.rules import batch, column_of, job, rows_of, schema, values_of

S = Scalar
COLUMNS = {"id": (S.INT, ["1", "2"]), "name": (S.STRING, ["a", "b"])}
RULES = (
    {"key": {"PK": "U#{id}", "SK": "PROFILE"}, "include": ["name"]},
    {"key": {"PK": "N#{name}", "SK": "#"}, "when": "id = 2"},
)


def test_every_row_goes_through_every_rule_in_the_rules_order():
    transform = compile_rules(
        job(*RULES), schema({name: kind for name, (kind, _) in COLUMNS.items()}), None, DOCUMENTS
    )
    first, second = transform(batch(COLUMNS))
    assert (first.rule, first.name, second.rule, second.name) == (0, "Rule0", 1, "Rule1")
    assert values_of(first) == [
        {"PK": "U#1", "SK": "PROFILE", "name": "a"},
        {"PK": "U#2", "SK": "PROFILE", "name": "b"},
    ]
    assert rows_of(second) == [1]
    assert [shape.name for shape in transform.rules] == ["Rule0", "Rule1"]
    assert transform.rules[0] == RuleShape("Rule0", first.attributes)


def test_columns_that_no_rule_names_arent_even_looked_at():
    # A column of a type that Polars doesn't read would fail if it were touched.
    kinds = RowSchema((Column("id", S.INT), Column("odd", S.STRING, hidden=True)), (), ())
    rows = pa.RecordBatch.from_arrays(
        [pa.array(["1"]), pa.array([[(1, 2)]], pa.map_(pa.int8(), pa.int8()))], ["id", "odd"]
    )
    (items,) = compile_rules(job({"key": {"PK": "{id}"}, "include": "all"}), kinds, None, DOCUMENTS)(
        Batch(0, 0, rows, None)
    )
    assert values_of(items) == [{"PK": "1", "id": "1"}]


def test_rules_that_name_no_column_at_all():
    rule = {"key": {"PK": "FIXED"}, "when": "true", "attributes": {"n": {"sql": "1 + 1"}}}
    (items,) = compile_rules(job(rule), schema({"id": S.INT}), None, DOCUMENTS)(
        batch({"id": (S.INT, ["1", "2"])})
    )
    assert column_of(items, "PK") == ["FIXED", "FIXED"]
    assert column_of(items, "n") == ["2", "2"]


def test_a_batch_without_rows_has_every_column():
    empty = {name: (kind, []) for name, (kind, _) in COLUMNS.items()}
    transform = compile_rules(
        job(*RULES), schema({name: kind for name, (kind, _) in COLUMNS.items()}), None, DOCUMENTS
    )
    first, second = transform(batch(empty))
    assert first.frame.columns == ["0", "1", "2", "row", "delete", "flaw"]
    assert second.frame.height == 0
