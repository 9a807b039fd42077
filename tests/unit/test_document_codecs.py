"""What any target's codec promises: what sources write in it, rules read again, to the last digit."""

import re
from pathlib import Path
from typing import Any

import bson
import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pytest
from bson import Decimal128, Regex
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.mongodb.documents import read_columns, read_documents
from connectors.mongodb.layout import FIELD, layout_of, schema_of
from engine.batch import Batch
from engine.contracts.documents import Affix, DocumentCodec, Fragment, Notation, ValueType
from engine.contracts.transform import FLAW
from engine.documents.cutting import scalar_texts
from engine.documents.exact import parsed_exactly
from engine.documents.plain import PLAIN
from engine.documents.reading import DocumentReader
from engine.documents.writing import documents_from_text_json, plain_fragment
from engine.kinds import Column, Document, Scalar, documents_array
from engine.rules.fields import Fields
from engine.rules.transform import compile_rules
from tests.support.rules import job, schema, values_of

FORTY = "1234567890" * 4
TYPES = {
    "text": ValueType.STRING,
    "number": ValueType.NUMBER,
    "bytes": ValueType.BINARY,
    "flag": ValueType.BOOL,
    "nothing": ValueType.NULL,
    "row": ValueType.LIST,
    "record": ValueType.MAP,
}


class Labelled:
    """A toy target's codec: every value is a pair of a label that nobody else knows, and its content."""

    notation = Notation(
        string=Affix('["text",', "]"),
        number=Affix('["number","', '"]'),
        binary=Affix('["bytes","', '"]'),
        bool=Affix('["flag",', "]"),
        list=Affix('["row",[', "]]"),
        map=Affix('["record",{', "}]"),
        null='["nothing",null]',
        nameless=None,
        null_size=5,
        bool_size=5,
        container_size=7,
        element_size=2,
    )

    def number(self, text: str) -> tuple[str, int, str | None]:
        digits = sum(sign.isdigit() for sign in text)
        return text, digits, None if 0 < digits <= 40 else f"number_precision: {text} has over 40 digits"

    def integer(self, value: int) -> tuple[str, int]:
        text, size, _ = self.number(str(value))
        return f'["number","{text}"]', size

    def from_json(self, texts: pa.Array) -> pa.StructArray:
        return documents_array([None if text is None else self._cell(text) for text in texts.to_pylist()])

    def parsed(self, wire: str) -> Any:
        return orjson.loads(wire)

    def opened(self, value: Any) -> tuple[ValueType, Any]:
        label, content = value
        return TYPES[label], content

    def printed(self, value: Any) -> Fragment:
        return orjson.dumps(value).decode(), *self._measured(value)

    def plain(self, value: Any) -> Any:
        kind, content = self.opened(value)
        match kind:
            case ValueType.NUMBER:
                return orjson.Fragment(content)
            case ValueType.MAP:
                return {name: self.plain(member) for name, member in content.items()}
            case ValueType.LIST:
                return [self.plain(element) for element in content]
            case _:
                return content

    def _cell(self, text: str) -> Any:
        value = self._labelled(parsed_exactly(text))
        return *self.printed(value), None

    def _labelled(self, value: Any) -> Any:
        found = PLAIN.opened(value)[0]
        label = next(label for label, kind in TYPES.items() if kind is found)
        match value:
            case list():
                return [label, [self._labelled(each) for each in value]]
            case dict():
                return [label, {name: self._labelled(each) for name, each in value.items()}]
            case str():
                return [label, str(value)]
            case _:
                return [label, value]

    def _measured(self, value: Any) -> tuple[int, int]:
        kind, content = self.opened(value)
        if kind is ValueType.NUMBER:
            return self.number(content)[1], 0
        if kind is ValueType.STRING:
            return len(content.encode()), 0
        if kind in (ValueType.NULL, ValueType.BOOL):
            return 5, 0
        members = content.values() if isinstance(content, dict) else content
        inner = [self._measured(each) for each in members]
        size = 7 + sum(2 + size for size, _ in inner)
        size += sum(len(name.encode()) for name in content) if isinstance(content, dict) else 0
        return size, 1 + max(depth for _, depth in inner) if inner else 0


LETTERS = re.compile(
    r'\{\\?"(?:S|N|B|M|L|SS|NS|BS|BOOL|NULL)\\?":\S'
)  # the words of `as:` are the job file's
ENGINE = Path(__file__).parents[2] / "engine"


def test_the_engine_knows_no_letters_of_a_target():
    assert [path for path in ENGINE.rglob("*.py") if LETTERS.search(path.read_text(encoding="utf-8"))] == []
    assert LETTERS.search(DOCUMENTS.notation.null)


CODECS = pytest.mark.parametrize("codec", [DOCUMENTS, PLAIN, Labelled()], ids=["dynamodb", "plain", "toy"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text('aé"\\[{}\n😀', max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('ab"é', min_size=1), inner, max_size=3)
    ),
    max_leaves=10,
)


@CODECS
@settings(deadline=None, max_examples=150)
@given(value=values)
def test_what_was_written_reads_as_it_was_and_prints_as_it_was_written(codec: DocumentCodec, value):
    text = orjson.dumps(value).decode()
    (found,) = codec.from_json(pa.array([text])).to_pylist()
    reader = DocumentReader(codec)
    assert found["flaw"] is None
    assert reader.plain_json([found["wire"]]) == [text]
    assert codec.printed(codec.parsed(found["wire"])) == (found["wire"], found["size"], found["depth"])
    assert plain_fragment(value, codec) == (found["wire"], found["size"], found["depth"])
    assert scalar_texts(pl.Series([found["wire"]]), codec).to_list() == reader.scalar_texts([found["wire"]])
    assert (value is None) == (found["wire"] == codec.notation.null)
    assert isinstance(value, list) == found["wire"].startswith(codec.notation.list.before)
    assert isinstance(value, dict) == found["wire"].startswith(codec.notation.map.before)


@CODECS
def test_leaves_of_arrays_are_written_by_their_kind(codec):
    found = documents_from_text_json(pa.array(['[["1",null],["-2"]]', None]), Scalar.INT, codec).to_pylist()
    assert DocumentReader(codec).plain_json([found[0]["wire"]]) == ["[[1,null],[-2]]"]
    assert codec.printed(codec.parsed(found[0]["wire"])) == (found[0]["wire"], found[0]["size"], 2)
    assert found[1] is None


RULE = {
    "key": {"PK": "{id}"},
    "attributes": {
        "number": "{doc.n}",
        "text": "N#{doc.n}",
        "padded": "{doc.i:05d}",
        "set": {"value": "{doc.l}", "as": "NS"},
        "list": {"value": "{doc.l}", "as": "L"},
        "gone": "{doc.none.at.all}",
        "null": "{doc.z}",
    },
}


@CODECS
def test_rules_read_documents_whatever_letters_they_are_written_in(codec):
    text = '{"n":12345678901234567890.25,"i":7,"l":[1,2],"z":null}'
    columns = {"id": Scalar.INT, "doc": Document()}
    batch = Batch(
        0,
        0,
        pa.RecordBatch.from_arrays([pa.array(["1"]), codec.from_json(pa.array([text]))], names=list(columns)),
        None,
    )
    (items,) = compile_rules(job(RULE), schema(columns), None, codec)(batch)
    assert items.frame.get_column(FLAW).to_list() == [None]
    (found,) = values_of(items)
    read = DocumentReader(codec).plain_json
    assert read([found["number"], found["list"], found["null"]]) == [
        "12345678901234567890.25",
        "[1,2]",
        "null",
    ]
    assert (found["text"], found["padded"], found["set"]) == (
        "N#12345678901234567890.25",
        "00007",
        ["1", "2"],
    )
    assert "gone" not in found


@CODECS
def test_elements_of_a_document_are_items_whatever_its_letters(codec):
    columns = {"id": Scalar.INT, "doc": Document()}
    documents = codec.from_json(pa.array(['{"l":[{"k":"x"},{"k":"y"}]}', '{"l":5}']))
    rows = pa.RecordBatch.from_arrays([pa.array(["1", "2"]), documents], names=list(columns))
    rule = {"for_each": "doc.l", "key": {"PK": "{id}#{each.k}"}}
    (items,) = compile_rules(job(rule), schema(columns), None, codec)(Batch(0, 0, rows, None))
    assert [item.get("PK") for item in values_of(items)] == ["1#x", "1#y", None]
    assert items.frame.get_column(FLAW).to_list()[2].startswith("value_unsupported: for_each needs a list")


def test_only_the_target_says_how_many_digits_there_are():
    texts = pa.array([f'{{"n":{FORTY}}}', f"[{FORTY}1]"])
    assert [found["flaw"] for found in PLAIN.from_json(texts).to_pylist()] == [None, None]
    assert Labelled().number(FORTY)[2] is None
    assert Labelled().number(FORTY + "1")[2] is not None
    for found in DOCUMENTS.from_json(texts).to_pylist():
        assert found["flaw"].startswith("number_precision: ")


FIELDS = Fields({"x": ("x",)}, {}, {"\0rest:[]": frozenset()})
BSON: list[dict[str, Any]] = [
    {"_id": f"i{n}", "x": [n, 2.5, 'a"b'], "y": {"z": None, "when": Regex("a"), "b": b"ab"}, "t": True}
    for n in range(300)
]


@CODECS
def test_bson_is_written_in_any_codec_in_columns_and_one_by_one(codec):
    encoded = [bson.encode(document) for document in BSON]
    data, starts = b"".join(encoded), np.cumsum([0, *map(len, encoded[:-1])]).astype(np.int64)
    layout = layout_of(FIELDS, schema_of(FIELDS, Column("_id", FIELD), keyed=True, unique=True), codec)
    together, alone = read_columns(layout, data, starts), read_documents(layout, data, starts.tolist())
    assert together.to_pydict() == alone.to_pydict()
    read = DocumentReader(codec).plain_json
    whole = "".join(
        (codec.notation.map.before, together["\0rest:[]"][3]["wire"].as_py()[1:], codec.notation.map.after)
    )
    assert orjson.loads(read([whole])[0]) == {
        "_id": "i3",
        "x": [3, 2.5, 'a"b'],
        "y": {"z": None, "when": {"$regularExpression": {"pattern": "a", "options": ""}}, "b": "YWI="},
        "t": True,
    }
    found = together["x"][3].as_py()
    assert codec.printed(codec.parsed(found["wire"])) == (found["wire"], found["size"], found["depth"])


def test_a_decimal_is_as_large_as_the_target_takes_it():
    data = bson.encode({"_id": 1, "x": Decimal128("9E+6000")})
    flaws = []
    for codec in (PLAIN, DOCUMENTS):
        layout = layout_of(FIELDS, schema_of(FIELDS, Column("_id", FIELD), keyed=True, unique=True), codec)
        flaws.append(read_documents(layout, data, [0])["x"][0]["flaw"].as_py())
    assert flaws[0] is None
    assert flaws[1].startswith("number_range: ")


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', "{", "NaN", '"\\ud800"', "[" * 100_000])
def test_a_text_that_plain_json_has_no_words_for_stands_whole_with_its_flaw(text):
    (found,) = PLAIN.from_json(pa.array([text])).to_pylist()
    assert found["flaw"].partition(": ")[0] in ("value_unsupported", "nesting_too_deep")
    assert DocumentReader(PLAIN).scalar_texts([found["wire"]]) == [text]
