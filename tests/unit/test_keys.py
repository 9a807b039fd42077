"""What a user would lose if a bad key sank its request, or a good one were refused."""

import pyarrow as pa
import pytest

from connectors.dynamodb.documents.json_walk import documents_from_json
from engine.errors import JobError
from engine.kinds import Document, Scalar, StructOf
from tests.support.items import encoded, index, puts, rule_items, table_info

S, N, INT, B = Scalar.STRING, Scalar.NUMBER, Scalar.INT, Scalar.BINARY
KEY = {"PK": S, "SK": S}


def document(text):
    return documents_from_json(pa.array([text])).to_pylist()[0]


def row(**values):
    return {"PK": "u#1", "SK": "o#1"} | values


@pytest.mark.parametrize(
    ("info", "kinds", "values", "reason"),
    [
        (table_info(), KEY, {"SK": ""}, "key_empty"),
        (table_info(), KEY, {"SK": None}, "key_null"),
        (table_info(), KEY, {"PK": "é" * 1025}, "key_too_long"),
        (table_info(), KEY, {"SK": "x" * 1025}, "key_too_long"),
        (table_info(sort=("SK", "N")), {"PK": S, "SK": N}, {"SK": "NaN"}, "number_not_finite"),
        (table_info(sort=("SK", "B")), {"PK": S, "SK": B}, {"SK": ""}, "key_empty"),
        (table_info(), {"PK": S, "SK": Document()}, {"SK": document("1")}, "key_type"),
        (table_info(), {"PK": S, "SK": Document()}, {"SK": document('""')}, "key_empty"),
        (table_info(), {"PK": S, "SK": Document()}, {"SK": document("null")}, "key_null"),
        (table_info(indexes=[index("g", ("G", "S"))]), KEY | {"G": S}, {"G": ""}, "key_empty"),
        (
            table_info(indexes=[index("g", ("PK", "S"), ("G", "S"))]),
            KEY | {"G": S},
            {"G": "x" * 1025},
            "key_too_long",
        ),
        (
            table_info(indexes=[index("g", ("G", "S"))]),
            KEY | {"G": Document()},
            {"G": document("1")},
            "key_type",
        ),
    ],
)
def test_a_bad_key_is_a_dead_letter(info, kinds, values, reason):
    result = encoded(rule_items(kinds, [row(**values)]), info=info)
    (dead,) = result.dead_letters
    assert (dead.reason, len(result)) == (reason, 0)


def test_a_number_as_string_is_no_number_key():
    info = table_info(sort=("SK", "N"))
    (dead,) = encoded(
        rule_items({"PK": S, "SK": N}, [row(SK="NaN")]), info=info, numbers="string"
    ).dead_letters
    assert dead.reason == "key_type"


def test_keys_at_their_limit_are_written():
    assert len(encoded(rule_items(KEY, [row(PK="é" * 1024, SK="x" * 1024)]))) == 1


def test_an_item_without_an_index_key_is_written_but_null_is_no_key():
    info = table_info(indexes=[index("g", ("G", "S"))])
    items = rule_items(KEY | {"G": S}, [row()])
    assert puts(encoded(items, info=info)) == [{"PK": {"S": "u#1"}, "SK": {"S": "o#1"}}]
    assert encoded(items, info=info, nulls="keep").dead_letters[0].reason == "key_type"


def test_a_rule_that_can_never_fit_is_refused_before_anything_is_read():
    with pytest.raises(
        JobError, match=r"items\[0\]: SK is of type N, but the table has it as a key of type S"
    ):
        encoded(rule_items({"PK": S, "SK": INT}, []))
    with pytest.raises(JobError, match=r"items\[0\]: G is of type M, but index g"):
        encoded(
            rule_items(KEY | {"G": StructOf((("a", S),))}, []),
            info=table_info(indexes=[index("g", ("G", "S"))]),
        )
    with pytest.raises(JobError, match=r"items\[0\].key: app-data has SK in its key"):
        encoded(rule_items({"PK": S}, []))
    with pytest.raises(JobError, match=r"1 to 65535 bytes"):
        encoded(rule_items(KEY | {"x" * 65536: S}, []))
