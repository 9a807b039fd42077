"""Whatever the values: the bytes are those that botocore makes of the same item, and every item counts."""

import base64
import json
from decimal import Decimal as Exact
from decimal import localcontext
from typing import Any

import botocore.session
import orjson
import polars as pl
import pyarrow as pa
from botocore.serialize import create_serializer
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.simulator.values import number as simulated
from engine.contracts import DELETE
from engine.kinds import Decimal, Document, ListOf, Scalar, SetOf, StructOf
from engine.wire import number_sizes
from engine.wire.documents import documents_from_json, documents_from_text_json
from engine.wire.numbers import number, plain_size
from tests.support.items import encoded, index, puts, rule_items, table_info

_OPERATION = botocore.session.get_session().get_service_model("dynamodb").operation_model("BatchWriteItem")
_SERIALIZER = create_serializer("json", include_validation=False)
_NESTED = 31

TEXTS = st.text(max_size=8) | st.sampled_from(
    ['"', "\\", "\x00", "\x1f\n", "\x7f", "\u2028", "é😀", "a,b", "'", "{}"]
)
INTS = st.integers(-(10**18), 10**18).map(str)
DECIMALS = st.builds(
    lambda sign, digits, point: (
        sign + (f"{digits[:point]}.{digits[point:]}" if 0 < point < len(digits) else digits)
    ),
    st.sampled_from(["", "", "-"]),
    st.text("0123456789", min_size=1, max_size=42),
    st.integers(0, 42),
)
NUMBERS = DECIMALS | st.sampled_from(
    ["NaN", "Infinity", "-Infinity", "1E+125", "1E+126", "-1e-130", "1e-131", "-0", "junk", ""]
)
FLOATS = st.floats().map(lambda f: repr(f).replace("nan", "NaN").replace("inf", "Infinity"))
BINARIES = st.binary(max_size=8).map(lambda octets: base64.b64encode(octets).decode())
JSON_TEXTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
).map(json.dumps)
SCALARS: dict[Any, st.SearchStrategy[str]] = {
    Scalar.INT: INTS,
    Scalar.NUMBER: NUMBERS,
    Scalar.FLOAT: FLOATS,
    Scalar.BOOL: st.sampled_from(["true", "false"]),
    Scalar.STRING: TEXTS,
    Scalar.BINARY: BINARIES,
    Scalar.TIMESTAMPTZ: st.sampled_from(["2024-01-15T10:00:00Z", "infinity"]),
    Scalar.DATE: st.sampled_from(["2024-01-15", "-infinity"]),
    Decimal(12, 2): st.integers(-(10**9), 10**9).map(lambda n: f"{n / 100:.2f}") | st.just("NaN"),
}
FIELDS = st.sampled_from(["a", "b", "*", "^a.*$", '"', "\\", "é\n", "w0"])
KINDS = st.recursive(
    st.sampled_from([*SCALARS, Document(), SetOf(Scalar.STRING), SetOf(Scalar.NUMBER), SetOf(Scalar.BINARY)]),
    lambda inner: (
        st.builds(ListOf, inner)
        | st.dictionaries(FIELDS, inner, min_size=1, max_size=3).map(lambda f: StructOf(tuple(f.items())))
    ),
    max_leaves=4,
)


class Flawed(Exception):
    """What DynamoDB can't hold."""


def values_of(kind):
    match kind:
        case Document():
            return JSON_TEXTS.map(lambda text: (text, documents_from_json(pa.array([text])).to_pylist()[0]))
        case ListOf(element):
            return st.lists(st.none() | values_of(element), max_size=4)
        case SetOf(element):
            return st.lists(SCALARS[element], max_size=4)
        case StructOf(fields):
            return st.fixed_dictionaries({name: st.none() | values_of(inner) for name, inner in fields})
    return SCALARS[kind]


def as_arrow(kind, value):
    match kind, value:
        case _, None:
            return None
        case Document(), (_, struct):
            return struct
        case ListOf(element), _:
            return [as_arrow(element, each) for each in value]
        case StructOf(fields), _:
            return {name: as_arrow(inner, value[name]) for name, inner in fields}
    return value


def exact(text):
    try:
        found = Exact(text)
    except ArithmeticError as error:
        raise Flawed from error
    if not found.is_finite():
        raise Flawed
    with localcontext(prec=200):
        found = found.normalize()
    if len(found.as_tuple().digits) > 38 or (found and not -130 <= found.adjusted() <= 125):
        raise Flawed
    return found


def expected(kind, value, keep):
    """The attribute value as botocore takes it, by another way than the encoder's: one value at a time."""
    match kind:
        case Scalar.INT | Scalar.NUMBER | Scalar.FLOAT | Decimal():
            return {"N": exact(value)}
        case Scalar.BOOL:
            return {"BOOL": value == "true"}
        case Scalar.BINARY:
            return {"B": base64.b64decode(value)}
        case Scalar():
            return {"S": value}
        case Document():
            return of_json(json.loads(value[0], parse_int=Exact, parse_float=Exact))
        case ListOf(element):
            return {"L": [{"NULL": True} if one is None else expected(element, one, keep) for one in value]}
        case SetOf(element):
            letter, members = ("", [])
            for one in value:
                ((letter, member),) = expected(element, one, keep).items()
                members.append(member)
            if not members or len(set(members)) < len(members):
                raise Flawed
            return {letter + "S": members}
    assert isinstance(kind, StructOf)
    members = {name: (inner, value[name]) for name, inner in kind.fields}
    present = {name: expected(*pair, keep) for name, pair in members.items() if pair[1] is not None}
    return {
        "M": present | ({name: {"NULL": True} for name in members if name not in present} if keep else {})
    }


def of_json(value):
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case Exact():
            return {"N": exact(str(value))}
        case list():
            return {"L": [of_json(each) for each in value]}
    if "" in value:
        raise Flawed
    return {"M": {name: of_json(member) for name, member in value.items()}}


def size_of(value):
    ((letter, content),) = value.items()
    match letter:
        case "S":
            return len(content.encode())
        case "B":
            return len(content)
        case "N":
            plain = format(content.copy_abs(), "f") if content else ""
            whole, _, fraction = plain.partition(".")
            pairs = "0" * (len(whole) % 2) + whole + fraction + "0" * (len(fraction) % 2)
            hundreds = [pairs[place : place + 2] for place in range(0, len(pairs), 2)]  # base 100
            taken = [place for place, digits in enumerate(hundreds) if digits != "00"]
            return min(1 + (taken[-1] - taken[0] + 1 if taken else 0) + (content < 0), 21)
        case "BOOL" | "NULL":
            return 1
        case "L":
            return 3 + sum(1 + size_of(each) for each in content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + size_of(each) for name, each in content.items())
    return sum(size_of({letter[0]: each}) for each in content)


def depth_of(value):
    ((letter, content),) = value.items()
    inner = content.values() if letter == "M" else content if letter == "L" else ()
    return max((1 + depth_of(each) for each in inner), default=0)


def botocores(item):
    """The item as botocore sends it, numbers as numbers."""
    spelled = {"RequestItems": {"t": [{"PutRequest": {"Item": plain(item)}}]}}
    body = json.loads(_SERIALIZER.serialize_to_request(spelled, _OPERATION)["body"])
    return body["RequestItems"]["t"][0]["PutRequest"]["Item"]


def plain(value):
    match value:
        case Exact():
            return str(value)
        case dict():
            return {name: plain(each) for name, each in value.items()}
        case list():
            return [plain(each) for each in value]
    return value


def with_numbers(value):
    """The same with every N as a number, so that its spelling doesn't matter."""
    match value:
        case {"N": str(text), **rest} if not rest:
            return {"N": Exact(text)}
        case {"NS": list(texts), **rest} if not rest:
            return {"NS": [Exact(text) for text in texts]}
        case dict():
            return {name: with_numbers(each) for name, each in value.items()}
        case list():
            return [with_numbers(each) for each in value]
    return value


@st.composite
def tables(draw):
    kinds = draw(
        st.dictionaries(st.text("abc\"\\'é\n ", min_size=1, max_size=4), KINDS, min_size=1, max_size=4)
    )
    rows = draw(
        st.lists(
            st.fixed_dictionaries({n: st.none() | values_of(k) for n, k in kinds.items()}),
            min_size=1,
            max_size=5,
        )
    )
    return kinds, rows


@settings(deadline=None)
@given(tables(), st.sampled_from(["omit", "keep"]), st.integers(0, 2))
def test_wire_texts_are_those_of_botocore(table, nulls, extra):
    kinds, rows = table
    plan, wanted, sizes, flawed = {"PK": Scalar.STRING, **kinds, "z": Scalar.STRING}, [], [], 0
    arrow_rows = []
    for place, row in enumerate(rows):
        item = {"PK": {"S": f"k{place}"}}
        filler = None
        try:
            for name, kind in kinds.items():
                if row[name] is not None:
                    item[name] = expected(kind, row[name], nulls == "keep")
                elif nulls == "keep":
                    item[name] = {"NULL": True}
            assert max(map(depth_of, item.values())) <= _NESTED
            size = sum(len(name.encode()) + size_of(value) for name, value in item.items())
            filler = "x" * (1024 - (size + 1) % 1024 + extra - 1)  # just under, at, or over a write unit
            item["z"] = {"S": filler}
            wanted.append(botocores(item))
            sizes.append(size + 1 + len(filler))
        except Flawed:
            flawed += 1
            if nulls == "keep":
                filler = ""
        arrow_rows.append(
            {"PK": f"k{place}", "z": filler}
            | {name: as_arrow(kind, row[name]) for name, kind in kinds.items()}
        )
    result = encoded(rule_items(plan, arrow_rows), info=table_info(sort=None), nulls=nulls)
    assert len(result.dead_letters) == flawed
    assert with_numbers(puts(result)) == with_numbers(wanted)
    by_row = [int(wcu) for _, wcu in sorted(zip(result.rows.tolist(), result.wcu.tolist(), strict=True))]
    assert by_row == [-(-size // 1024) for size in sizes]
    for letter in result.dead_letters:
        assert letter.item_json is not None
        assert "PK" in orjson.loads(letter.item_json)


@settings(deadline=None)
@given(tables(), st.sampled_from(["put", "insert", "newer"]))
def test_an_item_is_the_same_bytes_alone_and_in_company(table, mode):
    kinds, rows = table
    plan = {"PK": Scalar.STRING, "v": Scalar.INT, **kinds}
    arrow_rows = [
        {"PK": f"k{place}", "v": "1"} | {name: as_arrow(kind, row[name]) for name, kind in kinds.items()}
        for place, row in enumerate(rows)
    ]
    settings = {"info": table_info(sort=None), "mode": mode, "version": "v", "numbers": "string"}
    together = encoded(rule_items(plan, arrow_rows), **settings)
    alone = [encoded(rule_items(plan, [row]), **settings) for row in arrow_rows]
    assert sorted(together.item(place) for place in range(len(together))) == sorted(
        one.item(0) for one in alone if len(one)
    )
    assert {letter.detail for letter in together.dead_letters} == {
        letter.detail for one in alone for letter in one.dead_letters
    }


KEY_TEXTS = st.sampled_from(["", "a", "b", '"', "é", "x" * 1025, "x" * 2049])


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            KEY_TEXTS,
            st.none() | st.sampled_from(["1", "1.0", "-1", "NaN", "10"]),
            st.booleans(),
            st.integers(0, 1),
        ),
        max_size=12,
    ),
    st.sampled_from(["put", "insert"]),
)
def test_what_is_left_of_equal_keys_is_what_writing_one_by_one_would_leave(rows, mode):
    kinds = {"PK": Scalar.STRING, "SK": Scalar.NUMBER, "v": Scalar.INT}
    rules = [
        rule_items(
            kinds,
            [
                {"PK": pk, "SK": sk, "v": str(place), DELETE: gone, "row": place}
                for place, (pk, sk, gone, of) in enumerate(rows)
                if of == rule
            ],
            rule,
        )
        for rule in (0, 1)
    ]
    left_over, bad, skipped = {}, 0, 0
    for place, (pk, sk, gone, _) in enumerate(rows):
        if gone and mode == "insert":
            skipped += 1
        elif pk == "" or len(pk) > 2048 or sk in (None, "NaN"):
            bad += 1
        elif mode == "put" or (pk, Exact(sk)) not in left_over:
            left_over[pk, Exact(sk)] = (place, gone)
    result = encoded(*rules, info=table_info(sort=("SK", "N"), indexes=[index("g", ("SK", "N"))]), mode=mode)
    left = dict(zip(result.rows.tolist(), result.deletes.tolist(), strict=True))
    assert left == dict(left_over.values())
    assert (len(result.dead_letters), result.skipped) == (bad, skipped)


@settings(deadline=None)
@given(NUMBERS | FLOATS | INTS)
def test_equal_numbers_have_one_text_and_it_is_exact(text):
    found = number(text)
    try:
        value = exact(text)
    except Flawed:
        assert found.flaw is not None
        return
    assert found.flaw is None
    assert Exact(found.text) == value
    assert found.text == number(f"{value:E}").text == number(f"{value:f}").text
    assert found.size == size_of({"N": value})
    column = pl.Series(["100", found.text, None, found.text])
    assert number_sizes.exact(column).to_list() == [2, found.size, 0, found.size]
    assert number_sizes.exact(column[1:2]).to_list() == [found.size]
    assert found.size <= number_sizes.bounds(column)[1]
    if "E" not in found.text:
        assert plain_size(found.text) == found.size
    assert simulated(found.text)[1] == found.size, "the simulator charges the same"


@settings(deadline=None)
@given(JSON_TEXTS)
def test_a_document_is_its_json(text):
    (found,) = documents_from_json(pa.array([text])).to_pylist()
    try:
        wanted = of_json(json.loads(text, parse_int=Exact, parse_float=Exact))
    except Flawed:
        assert found["flaw"] is not None
        return
    assert found["flaw"] is None
    assert with_numbers(orjson.loads(found["wire"])) == wanted
    assert (found["size"], found["depth"]) == (size_of(wanted), depth_of(wanted))


@settings(deadline=None)
@given(st.recursive(st.none() | NUMBERS, lambda inner: st.lists(inner, max_size=3), max_leaves=8))
def test_a_list_of_texts_is_its_values(tree):
    (found,) = documents_from_text_json(pa.array([json.dumps(tree)]), Scalar.NUMBER).to_pylist()

    def value(node):
        if node is None:
            return {"NULL": True}
        return {"L": [value(each) for each in node]} if isinstance(node, list) else {"N": exact(node)}

    try:
        wanted = value(tree)
    except Flawed:
        assert found["flaw"] is not None
        return
    assert with_numbers(orjson.loads(found["wire"])) == wanted
    assert (found["size"], found["depth"]) == (size_of(wanted), depth_of(wanted))
