"""MongoDB documents as DynamoDB items, in plain Python after the contract's table; documents of all kinds.

Nothing of the engine has a part in it.
"""

import base64
import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from bson import (
    SON,
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

Wire = dict[str, Any]


def attributes(document: dict[str, Any]) -> dict[str, Wire]:
    """Return what each field becomes."""
    return {name: wire(value) for name, value in document.items()}


def wire(value: Any) -> Wire:
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case Code():
            return _map(
                {"$code": str(value)} | ({} if value.scope is None else {"$scope": _canonical(value.scope)})
            )
        case str():
            return {"S": value}
        case int():
            return {"N": Decimal(int(value))}
        case float():
            return {"N": Decimal(repr(value)) + 0}
        case Decimal128():
            return {"N": value.to_decimal()}
        case ObjectId():
            return {"S": str(value)}
        case Binary(subtype=4) if len(value) == 16:
            return {"S": str(value.as_uuid())}
        case bytes() if getattr(value, "subtype", 0) == 0:
            return {"B": bytes(value)}
        case datetime():
            return {"S": _iso(value)}
        case DatetimeMS() if int(value) == 253402300800000:
            return {"S": "+10000-01-01T00:00:00Z"}
        case DatetimeMS() if int(value) == -62135596800001:
            return {"S": "0000-12-31T23:59:59.999Z"}
        case list():
            return {"L": [wire(element) for element in value]}
        case dict():
            return {"M": {name: wire(member) for name, member in value.items()}}
        case _:
            return _map(_canonical(value))


def _map(value: Any) -> Wire:
    """Return plain JSON as an attribute."""
    match value:
        case dict():
            return {"M": {name: _map(member) for name, member in value.items()}}
        case list():
            return {"L": [_map(element) for element in value]}
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": Decimal(value)}
    return {"S": value}


def _canonical(value: Any) -> Any:
    """Return canonical Extended JSON, as the specification has it."""
    match value:
        case None | bool():
            return value
        case Code():
            return {"$code": str(value)} | (
                {} if value.scope is None else {"$scope": _canonical(value.scope)}
            )
        case str():
            return value
        case Int64():
            return {"$numberLong": str(int(value))}
        case int():
            return {"$numberInt": str(value)}
        case float():
            return {"$numberDouble": repr(value)}
        case ObjectId():
            return {"$oid": str(value)}
        case Binary() | bytes():
            subtype = getattr(value, "subtype", 0)
            return {"$binary": {"base64": base64.b64encode(value).decode(), "subType": f"{subtype:02x}"}}
        case Regex():
            assert value.flags == 2, "the corpus has this flag alone"
            return {"$regularExpression": {"pattern": value.pattern, "options": "i"}}
        case Timestamp():
            return {"$timestamp": {"t": value.time, "i": value.inc}}
        case MinKey():
            return {"$minKey": 1}
        case MaxKey():
            return {"$maxKey": 1}
        case DBRef():
            return {name: _canonical(member) for name, member in value.as_doc().items()}
        case dict():
            return {name: _canonical(member) for name, member in value.items()}
        case list():
            return [_canonical(element) for element in value]
    raise AssertionError(type(value))


def _iso(moment: datetime) -> str:
    text = f"{moment.year:04d}" + moment.strftime("-%m-%dT%H:%M:%S")
    milliseconds = moment.microsecond // 1000
    return text + (f".{milliseconds:03d}" if milliseconds else "") + "Z"


OBJECT_ID = ObjectId("507f1f77bcf86cd799439011")
VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "int": -2147483648,
    "long": Int64(9223372036854775807),
    "small long": Int64(-5),
    "double": 2.75,
    "whole double": 1e15,
    "long double": 0.1 + 0.2,
    "tiny double": 5e-130,
    "big double": 1.7976931348623157e125,
    "negative zero": -0.0,
    "decimal": Decimal128("12.500"),
    "decimal of 34 digits": Decimal128("1234567890123456789012345678901234"),
    "decimal with an exponent": Decimal128("-1.5E+100"),
    "text": 'häßlich 😀 \\ " \u0000 \u001f \u2028 </script>',
    "empty text": "",
    "object id": OBJECT_ID,
    "uuid": Binary(bytes(range(16)), 4),
    "binary": b"\x00\xff",
    "empty binary": b"",
    "old binary": Binary(b"abc", 2),
    "legacy uuid": Binary(bytes(range(16)), 3),
    "short uuid": Binary(b"abc", 4),
    "md5": Binary(bytes(16), 5),
    "custom binary": Binary(b"abc", 128),
    "date": datetime(2024, 1, 15, 10, 0, tzinfo=UTC),
    "date with milliseconds": datetime(2024, 1, 15, 10, 0, 0, 120_000, tzinfo=UTC),
    "date before 1970": datetime(1, 1, 1, tzinfo=UTC),
    "date after 9999": DatetimeMS(253402300800000),
    "date before 1": DatetimeMS(-62135596800001),
    "regex": Regex("^a.*/b", 2),
    "timestamp": Timestamp(1700000000, 4294967295),
    "min key": MinKey(),
    "max key": MaxKey(),
    "code": Code("function() { return 1 }"),
    "code with scope": Code("f", {"a": 1, "b": Int64(2), "c": [2.5, None]}),
    "reference": DBRef("users", OBJECT_ID, "other"),
    "no reference": SON([("$ref", "users"), ("$id", 1), ("$db", 5)]),
    "no reference in the end": SON([("$ref", "users"), ("$id", {"a": 1}), ("x", 1.5), ("$db", None)]),
    "list": [1, "a", None, [], {}, [[1.5]], {"a": [True]}],
    "empty list": [],
    "empty document": {},
    "document": {"a": {"b": {"c": {"d": 1}}}, "B": [{"x": "y"}]},
    "names": SON([("a.b", 1), ("$c", 2), ("d e", 3), ("ü😀", 4), ("a", SON([("b", 5)]))]),
    "deep": None,
}
_deep: Any = "bottom"
for _ in range(30):
    _deep = {"d": _deep}
VALUES["deep"] = _deep

BAD: dict[str, tuple[Any, str]] = {
    "nan": (math.nan, "number_not_finite"),
    "infinity": (-math.inf, "number_not_finite"),
    "too big double": (1e126, "number_range"),
    "subnormal": (5e-324, "number_range"),
    "decimal nan": (Decimal128("NaN"), "number_not_finite"),
    "too big decimal": (Decimal128("9.99E+6144"), "number_range"),
    "nested nan": ({"a": [math.nan]}, "number_not_finite"),
    "too deep": ([[_deep]], "nesting_too_deep"),
    "empty name": ({"": 1}, "value_unsupported"),
    "too large": ("x" * 410_000, "item_too_large"),
}


ID_CHECKED = set(VALUES) - {
    *("list", "empty list", "regex"),  # the server refuses these as _id
    *("names", "whole double", "small long", "no reference", "no reference in the end"),
    *("small long", "negative zero"),
}
NULL = {"NULL": True}
