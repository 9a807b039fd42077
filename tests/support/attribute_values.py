"""Values of every kind, and the attribute values that they are: by botocore's way, one at a time."""

import base64
import json
from decimal import Decimal as Exact
from decimal import localcontext
from typing import Any

import botocore.session
import pyarrow as pa
from botocore.serialize import create_serializer
from hypothesis import strategies as st

from connectors.dynamodb.documents.json_walk import documents_from_json
from engine.kinds import Decimal, Document, ListOf, Scalar, SetOf, StructOf

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
