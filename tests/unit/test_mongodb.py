"""What of the MongoDB source needs no server: texts of values and positions, ranges, what rules want."""

from datetime import UTC, datetime, timedelta

import bson
import pytest
from bson import (
    Binary,
    Code,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
)
from hypothesis import given
from hypothesis import strategies as st

from connectors.mongodb.bson_values import iso_date
from connectors.mongodb.chunks import chunks
from connectors.mongodb.positions import id_element, position_element, position_text, position_value
from connectors.mongodb.query import query_of
from connectors.mongodb.raw import _unpacked
from connectors.mongodb.segments import SAMPLED_MAX, between, cut
from connectors.mongodb.watermark import changed_since
from engine.batch import Cursor
from engine.documents import walking
from engine.errors import JobError
from engine.job.model import Job
from engine.job.watermark import Watermark
from engine.rules.fields import rest_of, wanted_fields

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
IDS = [
    *(1, Int64(1), 1.0, -0.0, float("nan"), float("inf"), 1e300, Decimal128("1E+6000"), Decimal128("-NaN")),
    *("", "ü\x00", b"", Binary(b"x", 2), Binary(b"x" * 16, 3), Binary(b"x" * 16, 4), Binary(b"x", 200)),
    *(
        True,
        None,
        ObjectId("6b0ad9a73f2e4c0ad4e66165"),
        DatetimeMS(2**63 - 1),
        DatetimeMS(-(2**63)),
        Timestamp(2**32 - 1, 1),
    ),
    *(MinKey(), MaxKey(), Code("f"), Code("f", {"a": 1}), Regex("a", "im"), DBRef("c", 1, "d")),
    *(
        {},
        {"a": Int64(1), "b": {"c": [1, None]}},
        {"b": 1, "a": 2},
        {"$oid": "x"},
        {"a": {"$numberLong": "1"}},
    ),
]


def job(*rules, **source) -> Job:
    return Job.model_validate(
        {
            "name": "test",
            "source": {
                "type": "mongodb",
                "url": "mongodb://h/",
                "database": "d",
                "collection": "c",
                **source,
            },
            "target": {"type": "dynamodb", "table": "items"},
            "items": [{"name": f"R{n}", "key": {"PK": "{_id}"}, **rule} for n, rule in enumerate(rules)],
        }
    )


@pytest.mark.parametrize("value", IDS, ids=repr)
def test_a_position_leads_back_to_the_same_bytes(value):
    document = bson.encode({"n": 1, "_id": value})
    element = id_element(document, 0)
    text = position_text(element)
    assert position_element(text) == element
    assert bson.encode({"_id": position_value(text)}) == element


@given(st.datetimes(timezones=st.just(UTC)))
def test_dates_are_iso(moment):
    ms = (moment - EPOCH) // timedelta(milliseconds=1)
    text = f"{moment.year:04d}{moment:-%m-%dT%H:%M:%S}"
    milliseconds = moment.microsecond // 1000
    assert iso_date(ms) == text + (f".{milliseconds:03d}Z" if milliseconds else "Z")


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (253402300800000, "+10000-01-01T00:00:00Z"),
        (253402300799999, "9999-12-31T23:59:59.999Z"),
        (-62135596800001, "0000-12-31T23:59:59.999Z"),
        (-62167219200001, "-0001-12-31T23:59:59.999Z"),
        (2**63 - 1, "+292278994-08-17T07:12:55.807Z"),
        (-(2**63), "-292275055-05-16T16:47:04.192Z"),
    ],
)
def test_far_dates_have_a_sign(ms, text):
    assert iso_date(ms) == text


def test_ranges_are_open_at_both_ends_and_meet():
    first, second, third = between([("a", 10), ("b", 10), ("c", 20)], 400)
    assert (first.after, first.until) == (None, Cursor(("b",)))
    assert (second.after, second.until) == (Cursor(("b",)), Cursor(("c",)))
    assert (third.after, third.until) == (Cursor(("c",)), None)
    assert [segment.rows_expected for segment in (first, second, third)] == [100, 100, 200]
    (only,) = between([], None)
    assert (only.after, only.until) == (None, None)


class Asked:
    """A collection that keeps what it was asked, and gives nothing."""

    def __init__(self):
        self.pipelines = []

    def with_options(self, **_):
        return self

    async def aggregate(self, pipeline, **_):
        self.pipelines.append(pipeline)
        return Nothing()


class Nothing:
    def __aiter__(self):
        return self

    async def __anext__(self):
        raise StopAsyncIteration


@pytest.mark.parametrize("wanted", [4_000, 100_000])
@pytest.mark.parametrize("query", [{}, {"a": 1}])
async def test_what_cutting_draws_does_not_grow_with_the_segments(wanted, query):
    collection = Asked()
    await cut(collection, query, wanted, 10**9, None)
    drawn = [pipeline[0]["$sample"]["size"] for pipeline in collection.pipelines]
    assert drawn == [SAMPLED_MAX] * (2 if query else 1)
    assert SAMPLED_MAX * 32 * 2**10 <= 2.1e9


DOCUMENTS = [{"_id": n, "pad": "x" * (n * 37 % 200)} for n in range(100)]
ARRAY = bson.encode({str(n): document for n, document in enumerate(DOCUMENTS)})


def test_chunks_hold_every_document_once(monkeypatch):
    for bytes_max, rows_max in ((1, 100), (500, 100), (10**6, 7), (10**6, 10**6)):
        found = list(chunks(ARRAY, bytes_max, rows_max, None))
        assert [
            bson.decode(ARRAY[start : start + int.from_bytes(ARRAY[start : start + 4], "little")])["_id"]
            for chunk in found
            for start in chunk.starts.tolist()
        ] == list(range(100))
        sizes = [len(chunk.alone().data) for chunk in found]
        assert all(
            len(chunk.starts) == 1 or size <= bytes_max * 3 // 2
            for chunk, size in zip(found, sizes, strict=True)
        )
        assert all(len(chunk.starts) <= rows_max for chunk in found)
        monkeypatch.setattr(walking, "_WALK", None)
        again = list(chunks(ARRAY, bytes_max, rows_max, None))
        monkeypatch.undo()
        assert [chunk.starts.tolist() for chunk in again] == [chunk.starts.tolist() for chunk in found]
    passed = id_element(bson.encode(DOCUMENTS[0]), 0)
    assert [len(chunk.starts) for chunk in chunks(ARRAY, 10**6, 10**6, passed)] == [99]
    assert list(chunks(bson.encode({}), 1, 1, None)) == []


def test_a_reply_that_is_one_chunk_is_held_as_it_came():
    (whole,) = chunks(ARRAY, 10**6, 10**6, None)
    assert whole.alone() is whole
    first, *_ = chunks(ARRAY, 500, 100, None)
    assert len(first.alone().data) < len(ARRAY)


def test_what_a_reply_has_too_much_is_no_chunk_of_a_few_documents():
    for bytes_max in (len(ARRAY) - 100, len(ARRAY) // 2 - 200, len(ARRAY) // 7 - 20):
        sizes = [len(chunk.starts) for chunk in chunks(ARRAY, bytes_max, 10**6, None)]
        assert max(sizes) <= 2 * min(sizes), sizes


@pytest.mark.parametrize("array", [ARRAY[:-1], ARRAY[:50], b"", b"\x05\0\0\0\1", bson.encode({"0": 1})])
def test_what_is_no_batch_is_no_batch_in_c_either(array):
    assert walking.starts(array) is None


class Reply:
    """A reply as the driver hands it over to be taken apart."""

    def __init__(self, **fields) -> None:
        self.payload_document = memoryview(bson.encode(fields))


@pytest.mark.parametrize("name", ["firstBatch", "nextBatch"])
def test_a_batch_is_taken_out_of_its_reply_whole(name):
    beside = {"ok": 1.0, "$clusterTime": {"clusterTime": bson.Timestamp(7, 1)}}
    reply = Reply(cursor={name: DOCUMENTS, "id": Int64(7), "ns": "d.c"}, **beside)
    assert _unpacked(reply, 7, None, user_fields={}) == [
        {"cursor": {"id": 7, "ns": "d.c", name: [ARRAY]}, **beside}
    ]
    empty = Reply(ok=1.0, cursor={"id": Int64(0), name: [], "ns": "d.c"})
    assert _unpacked(empty)[0]["cursor"] == {"id": 0, "ns": "d.c", name: []}


def test_a_reply_without_a_batch_is_read_as_it_is():
    failure = {"ok": 0.0, "errmsg": "no", "code": 43}
    assert _unpacked(Reply(**failure)) == [failure]
    assert _unpacked(Reply(cursor={"id": 1}, ok=1.0)) == [{"cursor": {"id": 1}, "ok": 1.0}]


def test_rules_name_fields_lists_and_all_the_rest():
    the_job = job(
        {"attributes": {"a": "{a.b}-{c}", "s": {"sql": 'upper("d.e") || f'}}, "when": "g IS NULL"},
        {"for_each": "l.m", "attributes": {"x": "{each.x.y}", "i": "{index}", "h": "{h}"}},
        {"for_each": "whole", "attributes": {"e": "{each}"}},
        {"include": "all", "exclude": ["a"], "attributes": {"z": "1"}},
        {"include": ["in.side"]},
    )
    fields = wanted_fields(the_job)
    assert set(fields.paths.values()) == {
        *(("_id",), ("a", "b"), ("c",), ("d", "e"), ("f",), ("g",), ("h",), ("whole",), ("in.side",))
    }
    assert [(found.path, dict(found.fields)) for found in fields.lists.values()] == [
        (("l", "m"), {"x.y": ("x", "y")})
    ]
    assert list(fields.rests.values()) == [frozenset({"PK", "a", "z"})]
    assert rest_of(the_job, the_job.items[0]) is None


def test_one_name_has_one_meaning():
    with pytest.raises(
        JobError, match=r"a\.b is a field with a dot in its name in one place, a path in another"
    ):
        wanted_fields(job({"attributes": {"x": "{a.b}", "y": '{"a.b"}'}}))


def test_filters_hold_extended_json():
    found = query_of(
        job({}, filter={"_id": {"$oid": "0" * 24}, "n": {"$in": [{"$numberLong": "5"}]}}).source, None
    )
    assert found == {"_id": ObjectId("0" * 24), "n": {"$in": [Int64(5)]}}
    assert isinstance(found["n"]["$in"][0], Int64)


def test_catch_up_adds_to_the_filter():
    source = job({}, filter={"a": 1}, watermark="at").source
    assert query_of(source, "2024-01-01T00:00:00Z") == {
        "$and": [{"a": 1}, changed_since(Watermark(column="at"), "2024-01-01T00:00:00Z")]
    }
    with pytest.raises(JobError, match="is no time; run with --fresh"):
        query_of(source, "yesterday")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"url": "postgres://h/"}, "it must be a URL such as mongodb://"),
        ({"projection": {"_id": 0}}, "`_id` is the position of a document"),
        ({"watermark": "$at"}, "without a dollar sign"),
        ({"database": ""}, "at least 1 character"),
    ],
)
def test_a_section_that_does_not_fit_is_refused(source, said):
    with pytest.raises(ValueError, match=said):
        job({}, **source)
