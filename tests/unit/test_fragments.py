"""Fragments taken apart: sizes and depths as the encoder counts them, digits as they were."""

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.dynamodb.documents.codec import DOCUMENTS, measured
from connectors.dynamodb.documents.json_walk import documents_from_json
from engine.documents.reading import DocumentReader
from engine.kinds import Scalar

READER = DocumentReader(DOCUMENTS)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(-1e20, 1e20).filter(lambda x: abs(x) > 1e-9)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('aé"\\', max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


def documents(*values):
    texts = [orjson.dumps(value).decode() if not isinstance(value, int) else str(value) for value in values]
    return documents_from_json(pa.array(texts, pa.string())).to_pylist()


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_a_whole_document_measures_what_its_maker_measured(value):
    try:
        (document,) = documents(value)
    except TypeError:  # orjson has no integers over 64 bits
        return
    assert measured(orjson.loads(document["wire"])) == (document["size"], document["depth"])


@pytest.mark.parametrize(
    ("value", "size", "depth"),
    [
        ({"SS": ["é", "b"]}, 3, 0),
        ({"NS": ["1", "-20", "1E+100"]}, 2 + 3 + 2, 0),
        ({"BS": ["aGk=", ""]}, 2, 0),
        ({"B": "aGk="}, 2, 0),
        ({"N": "0"}, 1, 0),
        ({"N": "-0.00125"}, 4, 0),
    ],
)
def test_types_that_json_has_not(value, size, depth):
    assert measured(value) == (size, depth)


def test_plain_json_keeps_every_digit_and_takes_sets_for_lists():
    wires = [
        '{"M":{"n":{"N":"12345678901234567890.25"},"s":{"NS":["1","2"]},"t":{"SS":["x"]},"z":{"NULL":true}}}',
        '{"L":[{"BOOL":false},{"B":"aGk="}]}',
        None,
    ]
    assert READER.plain_json(wires) == [
        '{"n":12345678901234567890.25,"s":[1,2],"t":["x"],"z":null}',
        '[false,"aGk="]',
        None,
    ]


def test_texts_of_scalars_and_of_nothing_else():
    wires = [
        '{"S":"a\\"b"}',
        '{"N":"1.5"}',
        '{"BOOL":true}',
        '{"NULL":true}',
        '{"L":[]}',
        '{"SS":["a"]}',
        None,
    ]
    assert READER.scalar_texts(wires) == ['a"b', "1.5", "true", None, None, None, None]


def test_elements_carry_the_flaw_of_their_list():
    row = {"wire": '{"L":[{"N":"1"},{"S":"1e400"}]}', "size": 9, "depth": 1, "flaw": "number_range: x"}
    (split,) = READER.elements([row])
    assert [(element["wire"], element["size"], element["flaw"]) for element in split] == [
        ('{"N":"1"}', 2, "number_range: x"),
        ('{"S":"1e400"}', 5, "number_range: x"),
    ]


def test_sets_are_taken_as_they_are():
    assert READER.texts_of(
        Scalar.NUMBER, ['{"NS":["1"]}', '{"L":[{"N":"2"}]}', '{"SS":["1"]}', '{"M":{}}', None]
    ) == [
        ["1"],
        ["2"],
        None,
        None,
        None,
    ]


def test_paths_that_lead_nowhere():
    paths = [("a",), ("a", "b"), ("c", "d", "e")]
    wires = ['{"M":{"a":{"M":{"b":{"N":"1"}}}}}', '{"M":{"a":{"L":[]}}}', '{"S":"x"}', None]
    columns = [READER.parts(path, wires, [None] * 4) for path in paths]
    assert [[part and part[0] for part in column] for column in columns] == [
        ['{"M":{"b":{"N":"1"}}}', '{"L":[]}', None, None],
        ['{"N":"1"}', None, None, None],
        [None] * 4,
    ]
