"""Mode newer compares as DynamoDB does; what sorts otherwise than it is meant is refused, never skipped."""

import pyarrow as pa
import pytest

from connectors.dynamodb.documents.json_walk import documents_from_json
from connectors.mongodb.section import MongoDBSection
from engine.errors import JobError
from engine.kinds import Document, Scalar
from engine.rules.versions import check_versions
from tests.support.items import encoded, rule_items
from tests.support.rules import job, schema

S = Scalar.STRING
KEY = {"PK": S, "SK": S}


def newer(kind, *values):
    rows = [{"PK": "u#1", "SK": f"{n}", "v": value} for n, value in enumerate(values)]
    return encoded(rule_items(KEY | {"v": kind}, rows), mode="newer", version="v")


def document(text):
    return documents_from_json(pa.array([text])).to_pylist()[0]


@pytest.mark.parametrize("kind", [Scalar.TIMESTAMPTZ, Scalar.TIMESTAMP, Scalar.TIME])
def test_kinds_whose_texts_vary_in_length_are_refused(kind):
    with pytest.raises(JobError, match=r"target.version: v of items\[0\] is a time.* as: epoch_us"):
        newer(kind)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Scalar.DATE, ["2024-01-15", "0001-01-01", "infinity", "-infinity"], ["10000-01-01", "+10000-01-01"]),
        (
            S,
            ["2024-01-15T10:00:00.500Z", "2024-01-15T10:00:00.500000Z", "b1946ac9", "", "2024-01-15", "v9"],
            [
                "9",
                "10",
                "-1.5",
                "1E+3",
                "2024-01-15T10:00:00Z",
                "2024-01-15 10:00:00.5",
                "10000-01-15T10:00:00",
            ],
        ),
        (
            Document(),
            ['{"S": 1}', '"x"', '"2024-01-15T10:00:00.500000Z"'],
            ['"9"', '"2024-01-15T10:00:00Z"', '"2024-01-15T10:00:00.500Z"', "[1]", "null"],
        ),
        (Scalar.NUMBER, ["9", "10", "1.5"], []),
    ],
)
def test_single_texts_that_sort_wrongly_are_dead_letters(kind, good, bad):
    made = [document(text) if isinstance(kind, Document) else text for text in [*good, *bad]]
    if isinstance(kind, Document):
        made[0] = document("5")
    result = newer(kind, *made)
    assert sorted(result.rows.tolist()) == list(range(len(good)))
    assert [letter.reason for letter in result.dead_letters] == ["value_unsupported"] * len(bad)


KINDS = {
    "id": Scalar.INT,
    "at": Scalar.TIMESTAMPTZ,
    "day": Scalar.DATE,
    "name": S,
    "doc": Document(),
}


def check(version, source="postgres"):
    made = job({"key": {"PK": "{id}", "SK": "#"}, "attributes": {"v": version}})
    target = made.target.model_copy(update={"mode": "newer", "version": "v"})
    made = made.model_copy(update={"target": target})
    if source == "mongodb":
        section = MongoDBSection(type=source, url="mongodb://127.0.0.1/", database="d", collection="c")
        made = made.model_copy(update={"source": section})
    check_versions(made, schema(KINDS, [frozenset({"id"})]))


@pytest.mark.parametrize(
    "version",
    [
        *(
            "{id}",
            "{name}",
            "{doc}",
            "N#{name}",
            "{at:%Y-%m-%dT%H:%M:%S.%fZ}",
            "{at:%FT%T.%f}",
            "{day:%Y%m%d}",
        ),
        {"value": "{at}", "as": "epoch_us"},
        {"value": "{day}", "as": "epoch_s"},
        {"value": "{name}", "as": "N"},
    ],
)
def test_versions_that_say_all_and_sort_pass(version):
    check(version)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("{at:%Y-%m-%dT%H:%M:%S}", "leaves out"),
        ("{at:%Y-%m-%d}", "leaves out"),
        ("{at:%d.%m.%Y}", "don't sort by time"),
        ("{id:09d}", "a number as text"),
        ("N#{id}", "is made text"),
        ("{name}{id}", "several values"),
        ({"value": "{id}", "as": "S"}, "is made text"),
        ({"value": "{at}", "as": "epoch_ms"}, "is cut by `as: epoch_ms`"),
        ({"value": "{doc}", "as": "epoch_s"}, "is cut by"),
    ],
)
def test_versions_that_are_cut_or_do_not_sort_are_refused(version, said):
    with pytest.raises(JobError, match=rf"target.version: v of items\[0\] .*{said}"):
        check(version)


def test_milliseconds_are_all_of_a_bson_date():
    check({"value": "{doc}", "as": "epoch_ms"}, source="mongodb")
    with pytest.raises(JobError, match="is cut"):
        check({"value": "{doc}", "as": "epoch_ms"})
