"""Positions in a collection: `_id`s as text, and back.

Invariant: a text leads back to the very same bytes; positions are compared by the server only.
"""

import base64
import re
from typing import Any

import bson
import orjson
from bson import json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.decimal128 import Decimal128
from bson.raw_bson import RawBSONDocument

from connectors.mongodb.bson_values import (
    ARRAY,
    BINARY,
    BOOL,
    DATE,
    DECIMAL128,
    DOCUMENT,
    DOUBLE,
    DOUBLE_AT,
    INT32,
    INT64,
    NULL,
    OBJECT_ID,
    STRING,
    TIMESTAMP,
    elements,
)
from connectors.mongodb.extended import OLD_BINARY, extended

_ID = b"_id"
_RAW = "bson:"
"""What begins a position that Extended JSON can't carry: the bytes follow in base64."""
_OPTIONS = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL, datetime_conversion=DatetimeConversion.DATETIME_MS
)
_FAITHFUL = frozenset({STRING, OBJECT_ID, BOOL, DATE, NULL, INT32, TIMESTAMP, INT64})
"""Types whose Extended JSON is known to lead back to the same bytes; that of others is tried out."""
UNREADABLE = (
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    AttributeError,
    re.error,
    bson.errors.BSONError,
)
"""What the driver raises where something looks like its Extended JSON and isn't, as `{"$date": 1e19}`."""
_CODEC: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)


def id_element(data: bytes, start: int) -> bytes | None:
    """Return the `_id` of the document at a place as a document of its own; None when it has none."""
    for _, name, begin, end in elements(data, start):
        if name == _ID:
            element = data[begin - len(name) - 2 : end]
            return (len(element) + 5).to_bytes(4, "little") + element + b"\0"
    return None


def position_text(element: bytes) -> str:
    """Return a position as canonical Extended JSON, or as its bytes where that would lose something."""
    try:
        text = orjson.dumps(extended(element[4], element, 9)).decode()
        if _faithful(element[4], element, 9) or _encoded(text) == element:
            return text
    except UNREADABLE:
        pass
    return _RAW + base64.b64encode(element).decode()


def position_value(text: str) -> Any:
    """Return what the server takes for a position: the value of an `_id`."""
    if text.startswith(_RAW):
        return RawBSONDocument(base64.b64decode(text.removeprefix(_RAW)))[_ID.decode()]
    return json_util.loads(text, json_options=_OPTIONS)


def position_element(text: str) -> bytes:
    """Return a position as the document that `id_element` gave."""
    if text.startswith(_RAW):
        return base64.b64decode(text.removeprefix(_RAW))
    return _encoded(text)


def value_text(value: Any) -> str:
    """Return a decoded value as a position."""
    return position_text(bson.encode({_ID.decode(): value}, codec_options=_CODEC))


def _faithful(kind: int, data: bytes, at: int) -> bool:
    """Say whether a value's Extended JSON needs no trying out."""
    if kind in _FAITHFUL:
        return True
    if kind == DOUBLE:
        value = DOUBLE_AT(data, at)[0]
        return bool(value == value)
    if kind == BINARY:
        return data[at + 4] != OLD_BINARY
    if kind == DECIMAL128:
        raw = data[at : at + 16]
        return bool(Decimal128(str(Decimal128.from_bid(raw))).bid == raw)
    if kind not in (DOCUMENT, ARRAY):
        return False
    return all(
        not name.startswith(b"$") and _faithful(inner, data, begin)
        for inner, name, begin, _ in elements(data, at)
    )


def _encoded(text: str) -> bytes:
    return bson.encode({_ID.decode(): json_util.loads(text, json_options=_OPTIONS)}, codec_options=_CODEC)
