"""Whatever the document's bytes: the walk in C gives what Python gives, and takes all that is plain."""

import struct
from random import Random

import numpy as np
import pytest

from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.mongodb.documents import read_columns, read_documents
from connectors.mongodb.layout import FIELD, layout_of, schema_of
from engine.documents import walking
from engine.documents.walking import SHARE
from engine.kinds import Column, Scalar
from engine.rules.fields import Fields, ListFields
from tests.support import bson_bytes
from tests.support.fuzz_walk import mutated

pytestmark = pytest.mark.skipif(walking._WALK is None, reason=f"documents are walked {walking.WAY}")

FIELDS = Fields(
    {"_id": ("_id",), "a": ("a",), "b.c": ("b", "c"), "b": ("b",), "a.b": ("a.b",)},
    {
        "\0list:l": ListFields(("l",), {"a": ("a",), "b.c": ("b", "c")}),
        "\0list:b.l": ListFields(("b", "l"), {"a": ("a",)}),
    },
    {"\0rest:[]": frozenset(), '\0rest:["a"]': frozenset({"a", "c"})},
)
MADE = [
    layout_of(fields, schema_of(fields, Column("_id", kind), keyed=True, unique=True), DOCUMENTS)
    for fields in (FIELDS, Fields(FIELDS.paths, FIELDS.lists, {}))
    for kind in (FIELD, Scalar.STRING)
]

NO_LISTS = layout_of(
    Fields(FIELDS.paths, {}, FIELDS.rests),
    schema_of(Fields(FIELDS.paths, {}, FIELDS.rests), Column("_id", Scalar.STRING), keyed=False, unique=True),
    DOCUMENTS,
)


def batch_of(documents):
    return b"".join(documents), np.cumsum([0, *map(len, documents)])[:-1].astype(np.int64)


def compared(layout, documents):
    """Compare both ways; return how many documents went through Python."""
    data, starts = batch_of(documents)
    before = SHARE.alone
    got, wanted = read_columns(layout, data, starts), read_documents(layout, data, starts.tolist())
    got.validate(full=True)
    assert got.schema == wanted.schema
    for name in wanted.schema.names:
        assert got.column(name).to_pylist() == wanted.column(name).to_pylist(), name
    return SHARE.alone - before


@pytest.mark.parametrize("seed", range(3))
def test_plain_documents_are_the_same_and_need_no_python(seed):
    random = Random(seed)
    documents = [bson_bytes.with_id(n, random, odd=False) for n in range(300)]
    assert compared(NO_LISTS, documents) == 0
    assert compared(MADE[0], documents) < 200, "those whose l is no list have a flaw"


@pytest.mark.parametrize("layout", MADE, ids=range(len(MADE)))
def test_documents_with_odd_values_are_the_same(layout):
    random = Random(4)
    assert 0 < compared(layout, [bson_bytes.with_id(n, random) for n in range(500)]) < 250


def test_numbers_are_the_shortest_that_read_back():
    random = Random(5)
    doubles = [struct.unpack("<d", random.randbytes(8))[0] for _ in range(2_000)]
    doubles += [random.random() * 10.0**power for power in range(-10, 15) for _ in range(400)]
    doubles += [round(random.random() * 10**power, digits) for power in range(9) for digits in range(9)] * 5
    doubles += [10.0**power for power in range(-30, 30)]
    doubles += [np.nextafter(10.0**power, way) for power in range(-12, 16) for way in (0, np.inf)]
    doubles += [double for power in range(-60, 60) for double in (2.0**power, np.nextafter(2.0**power, 0))]
    whole = [10**n + more for n in range(19) for more in (0, -1, 1, 5 * 10 ** max(n - 1, 0))]
    values = [(1, struct.pack("<d", random.choice([1, -1]) * value)) for value in doubles]
    values += [(0x12, struct.pack("<q", sign * value)) for value in whole for sign in (1, -1)]
    values += [(0x13, bson_bytes.decimal(random)) for _ in range(2_000)]
    values += [(0x13, random.randbytes(16)) for _ in range(300)]
    found = [bson_bytes.written(bson_bytes.element(kind, b"a", value)) for kind, value in values]
    assert compared(MADE[2], found) < 0.3 * len(found)


@pytest.mark.parametrize("levels", [1, 31, 32, 33, 64, 100, 180, 254, 255, 256, 257, 300])
def test_what_is_deep_is_the_same(levels):
    compared(MADE[0], [bson_bytes.nested(levels), bson_bytes.nested(1)])


def test_what_is_huge_or_wide_is_the_same():
    long = bson_bytes.element(2, b"a", bson_bytes.text(b"\0\x1f" * 500_000)) + bson_bytes.element(
        5, b"b", struct.pack("<iB", 1_000_000, 0) + b"x" * 1_000_000
    )
    many = b"".join(bson_bytes.element(10, b"n%d" % n, b"") for n in range(20_000))
    twice = bson_bytes.written(many + bson_bytes.element(10, b"n7", b""))
    items = b"".join(bson_bytes.element(3, b"%d" % n, bson_bytes.written(b"")) for n in range(5_000))
    inner = bson_bytes.element(3, b"a", twice) + bson_bytes.element(4, b"l", bson_bytes.written(items))
    assert compared(MADE[0], [*map(bson_bytes.written, (long, many, inner)), twice]) == 2


def test_no_document_is_taken_for_what_python_does_not_read_in_it():
    random, taken = Random(6), 0
    for number in range(3_000):
        document = mutated(bson_bytes.with_id(number, random), random)
        (data, starts), layout = batch_of([document]), random.choice(MADE[::2])
        words = walking.handed(DOCUMENTS.notation)
        if walking.columns(data, starts, words, layout.flat)[0] == b"\0":
            taken += 1
            compared(layout, [document])
    assert taken > 500
