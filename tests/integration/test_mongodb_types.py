"""Every BSON type and every hostile shape, through the whole command into a real table and back by boto3."""

import struct
from pathlib import Path
from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from tests.support import loads
from tests.support.command import Command
from tests.support.mongo import BAD, ID_CHECKED, NULL, VALUES, attributes, wire
from tests.support.plain_values import same


def job(url: str, database: str, endpoint: str, table: str, **changes: Any) -> dict[str, Any]:
    loads.create_table(endpoint, table)
    made = loads.job(url, endpoint, table)
    made["source"] = {"type": "mongodb", "url": url, "database": database, "collection": "c"}
    made["source"] |= changes.pop("source", {})
    made["items"] = [{"name": "Doc", "key": {"PK": "DOC#{n}", "SK": "DOC"}, "include": "all"}]
    return made | changes


def fill(url: str, database: str, documents: list[Any]) -> None:
    with MongoClient(url) as client:
        client[database].c.insert_many(documents)


@pytest.mark.parametrize(("driver", "alike"), [("pymongo", True), ("pymongo", False), ("motor", False)])
def test_every_value_arrives_as_the_contract_says(
    mongodb_url, database, dynoxide, table_name, tmp_path: Path, driver, alike
):
    """`alike`: whole batches of one shape, so that columns can be made; else no two documents are alike."""
    copies = 130 if alike else 1
    documents = [
        {"n": f"{name}{copy}", "v": value, "l": [value], "m": {"inner": value}}
        for name, value in VALUES.items()
        for copy in range(copies)
    ]
    fill(mongodb_url, database, documents)
    made = job(mongodb_url, database, dynoxide, table_name, source={"driver": driver})
    ended = Command(tmp_path, made).run("run", "--json", "--workers", "1")
    assert ended.code == 0, ended.stderr
    loads.assert_balanced(ended.report)
    found = loads.items(dynoxide, table_name)
    assert len(found) == len(documents) == ended.report["rows_read"]
    for document in documents:
        there = found[f"DOC#{document['n']}|DOC"]
        key = {"PK": wire(f"DOC#{document['n']}"), "SK": wire("DOC")}
        wanted = key | attributes(document)
        assert same(sort(there), sort(wanted)), document["n"]


def sort(item: dict[str, Any]) -> dict[str, Any]:
    """Order the members of maps, which have no order in DynamoDB."""
    if isinstance(item, dict):
        return {name: sort(item[name]) for name in sorted(item)}
    if isinstance(item, list):
        return [sort(element) for element in item]
    return item


@pytest.mark.parametrize("numbers", ["exact", "string"])
def test_what_can_not_be_written_is_a_dead_letter_with_its_reason(
    mongodb_url, database, dynoxide, table_name, tmp_path, numbers
):
    fill(mongodb_url, database, [{"n": name, "v": value} for name, (value, _) in BAD.items()])
    made = job(mongodb_url, database, dynoxide, table_name, options={"numbers": numbers})
    command = Command(tmp_path, made)
    ended = command.run("run", "--json", "--workers", "1")
    assert ended.code == 3, ended.stderr
    loads.assert_balanced(ended.report)
    wanted = {
        name: reason
        for name, (_, reason) in BAD.items()
        if numbers == "exact" or not reason.startswith("number_")
    }
    letters = {letter["detail_of"]: letter for letter in with_names(command)}
    assert {name: letter["reason"] for name, letter in letters.items()} == wanted
    found = {place.partition("#")[2].partition("|")[0] for place in loads.items(dynoxide, table_name)}
    assert found == set(BAD) - set(wanted)


def with_names(command: Command) -> list[dict[str, Any]]:
    found = command.dead_letters()
    for letter in found:
        name = None if letter["item"] is None else letter["item"]["n"]["S"]
        letter["detail_of"] = name or "too large"
    return found


def element(kind: int, name: bytes, value: bytes) -> bytes:
    return bytes([kind]) + name + b"\0" + value


def raw(*elements: bytes) -> RawBSONDocument:
    body = b"".join(elements)
    return RawBSONDocument(struct.pack("<i", len(body) + 5) + body + b"\0")


def text(value: bytes) -> bytes:
    return struct.pack("<i", len(value) + 1) + value + b"\0"


def test_bytes_that_no_library_would_write(mongodb_url, database, dynoxide, table_name, tmp_path):
    one, two = struct.pack("<i", 1), struct.pack("<i", 2)
    twice = bytes(raw(element(16, b"a", one), element(16, b"a", two)).raw)

    def named(name: bytes, *others: bytes) -> RawBSONDocument:
        return raw(element(2, b"_id", text(name)), element(2, b"n", text(name)), *others)

    documents = [
        named(b"twice", element(16, b"a", one), element(16, b"a", two)),
        named(b"twice inside", element(3, b"m", twice)),
        named(b"not utf-8", element(2, b"v", text(b"\xff\xfe"))),
        named(b"surrogate", element(2, b"v", text(b"\xed\xa0\x80"))),
        named(b"name not utf-8", element(16, b"\xff", one)),
        named(b"symbol", element(14, b"v", text(b"sym"))),
        named(b"undefined", element(6, b"v", b"")),
        named(b"pointer", element(12, b"v", text(b"db.c") + bytes(range(12)))),
        named(b"negative nan", element(1, b"v", struct.pack("<Q", 0xFFF8000000000001))),
    ]
    fill(mongodb_url, database, documents)
    command = Command(tmp_path, job(mongodb_url, database, dynoxide, table_name))
    ended = command.run("run", "--json", "--workers", "1")
    assert ended.code == 3, ended.stderr
    reasons = {letter["source_key"]["_id"]: letter["reason"] for letter in command.dead_letters()}
    assert reasons == {
        "twice": "value_unsupported",
        "twice inside": "value_unsupported",
        "not utf-8": "value_unsupported",
        "surrogate": "value_unsupported",
        "name not utf-8": "value_unsupported",
        "negative nan": "number_not_finite",
    }
    found = {item["n"]["S"]: item["v"] for item in loads.items(dynoxide, table_name).values()}
    object_id = bson.ObjectId(bytes(range(12)))
    assert found == {
        "symbol": {"M": {"$symbol": {"S": "sym"}}},
        "undefined": {"M": {"$undefined": {"BOOL": True}}},
        "pointer": {
            "M": {"$dbPointer": {"M": {"$ref": {"S": "db.c"}, "$id": {"M": {"$oid": {"S": str(object_id)}}}}}}
        },
    }


def test_missing_and_null_stay_apart_and_every_id_is_kept(
    mongodb_url, database, dynoxide, table_name, tmp_path
):
    ids = {name: value for name, value in VALUES.items() if name in ID_CHECKED}
    documents = [
        {"_id": value, "n": name, **({"v": None} if len(name) % 2 else {})} for name, value in ids.items()
    ]
    fill(mongodb_url, database, documents)
    ended = Command(tmp_path, job(mongodb_url, database, dynoxide, table_name)).run("run", "--json")
    assert ended.code == 0, ended.stderr
    found = loads.items(dynoxide, table_name)
    for document in documents:
        item = found[f"DOC#{document['n']}|DOC"]
        assert item.get("v") == (NULL if "v" in document else None)
        assert same(sort(item["_id"]), sort(wire(document["_id"]))), document["n"]


@pytest.mark.parametrize("nulls", ["omit", "keep"])
def test_rules_name_fields_that_only_some_documents_have(
    mongodb_url, database, dynoxide, table_name, tmp_path, nulls
):
    fill(
        mongodb_url,
        database,
        [
            {"_id": 1, "a": {"b": 5}, "a.c": "dotted", "t": ["x", {"k": 1}, {"k": "two"}, {"k": None}, {}]},
            {"_id": 2, "a": {"b": "text"}, "t": []},
            {"_id": 3, "a": "no document", "t": None},
            {"_id": 4, "a": None},
            {"_id": 5, "a": {"b": [1, {"c": 2}]}, "t": "no list"},
        ],
    )
    items = [
        {
            "name": "Doc",
            "key": {"PK": "D#{_id}", "SK": "D"},
            "attributes": {"b": "{a.b}", "c": '{"a.c"}', "x": {"sql": 'upper("a.b")'}},
        },
        {
            "name": "Tag",
            "for_each": "t",
            "key": {"PK": "D#{_id}", "SK": "T#{index:03d}"},
            "attributes": {"k": "{each.k}"},
        },
    ]
    made = job(mongodb_url, database, dynoxide, table_name, items=items, options={"nulls": nulls})
    command = Command(tmp_path, made)
    ended = command.run("run", "--json", "--workers", "1")
    assert ended.code == 3, ended.stderr
    (letter,) = command.dead_letters()
    assert (letter["rule"], letter["reason"], letter["source_key"]) == (
        "Tag",
        "value_unsupported",
        {"_id": "5"},
    )
    found = {
        place: {name: value for name, value in item.items() if name not in ("PK", "SK")}
        for place, item in loads.items(dynoxide, table_name).items()
    }
    absent = {} if nulls == "omit" else {"k": NULL}

    def padded(**given: Any) -> dict[str, Any]:
        return given if nulls == "omit" else {"b": NULL, "c": NULL, "x": NULL} | given

    assert found == {
        "D#1|D": padded(b=wire(5), c=wire("dotted"), x=wire("5")),
        "D#2|D": padded(b=wire("text"), x=wire("TEXT")),
        "D#3|D": padded(),
        "D#4|D": padded(),
        "D#5|D": padded(b=wire([1, {"c": 2}]), x=wire('[1,{"C":2}]')),
        "D#1|T#000": absent,
        "D#1|T#001": {"k": wire(1)},
        "D#1|T#002": {"k": wire("two")},
        "D#1|T#003": {"k": NULL},
        "D#1|T#004": absent,
    }
