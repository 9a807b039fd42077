"""BSON values as canonical Extended JSON: for types that no target knows, and for positions. Pure.

Invariant: no type is lost; what can't be said raises ValueError (of which UnicodeDecodeError is one).
Source: https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md
"""

import base64
import struct
from collections.abc import Callable
from typing import Any

from bson.decimal128 import Decimal128

_INT32, _INT64, _DOUBLE = (struct.Struct(code).unpack_from for code in ("<i", "<q", "<d"))
OLD_BINARY = 2


def extended(kind: int, data: bytes, at: int) -> Any:
    """Return a value as plain Python for JSON: dicts, lists, texts, booleans, None and small integers."""
    return _read(kind, data, at)[0]


def _read(kind: int, data: bytes, at: int) -> tuple[Any, int]:
    """Return a value, and where it ends."""
    reader = _READERS.get(kind)
    if reader is None:
        raise ValueError(f"BSON has no type {kind:#x}")
    return reader(data, at)


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = at + 4 + int(_INT32(data, at)[0])
    return data[at + 4 : end - 1].decode(), end


def _cstring(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].decode(), end + 1


def _elements(data: bytes, at: int) -> tuple[list[tuple[str, Any]], int]:
    found: list[tuple[str, Any]] = []
    at += 4
    while kind := data[at]:
        name, at = _cstring(data, at + 1)
        value, at = _read(kind, data, at)
        found.append((name, value))
    return found, at + 1


def _document(data: bytes, at: int) -> tuple[dict[str, Any], int]:
    pairs, end = _elements(data, at)
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name stands twice in one document")
    return members, end


def _array(data: bytes, at: int) -> tuple[list[Any], int]:
    pairs, end = _elements(data, at)
    return [value for _, value in pairs], end


def _binary(data: bytes, at: int) -> tuple[Any, int]:
    length, subtype = _INT32(data, at)[0], data[at + 4]
    start, end = at + 5, at + 5 + length
    if subtype == OLD_BINARY:
        start += 4  # the length stands there once more
    content = base64.b64encode(data[start:end]).decode()
    return {"$binary": {"base64": content, "subType": f"{subtype:02x}"}}, end


def _regex(data: bytes, at: int) -> tuple[Any, int]:
    pattern, at = _cstring(data, at)
    options, at = _cstring(data, at)
    return {"$regularExpression": {"pattern": pattern, "options": options}}, at


def _pointer(data: bytes, at: int) -> tuple[Any, int]:
    namespace, at = _text(data, at)
    object_id = {"$oid": data[at : at + 12].hex()}
    return {"$dbPointer": {"$ref": namespace, "$id": object_id}}, at + 12


def _scoped_code(data: bytes, at: int) -> tuple[Any, int]:
    code, at = _text(data, at + 4)
    scope, at = _document(data, at)
    return {"$code": code, "$scope": scope}, at


def _timestamp(data: bytes, at: int) -> tuple[Any, int]:
    value = _INT64(data, at)[0] & 0xFFFFFFFFFFFFFFFF
    return {"$timestamp": {"t": value >> 32, "i": value & 0xFFFFFFFF}}, at + 8


def _double(data: bytes, at: int) -> tuple[Any, int]:
    return {"$numberDouble": double_text(_DOUBLE(data, at)[0]).replace("e", "E")}, at + 8


def double_text(value: float) -> str:
    """Return the shortest text that reads back to the same double, as kinds.Scalar.FLOAT has it."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def _wrapped(name: str, read: Callable[[bytes, int], tuple[str, int]]) -> "_Reader":
    def wrapped(data: bytes, at: int) -> tuple[Any, int]:
        text, end = read(data, at)
        return {name: text}, end

    return wrapped


def _constant(value: Any) -> "_Reader":
    return lambda _, at: (value, at)


_Reader = Callable[[bytes, int], tuple[Any, int]]
_READERS: dict[int, _Reader] = {
    0x01: _double,
    0x02: _text,
    0x03: _document,
    0x04: _array,
    0x05: _binary,
    0x06: _constant({"$undefined": True}),
    0x07: lambda data, at: ({"$oid": data[at : at + 12].hex()}, at + 12),
    0x08: lambda data, at: (bool(data[at]), at + 1),
    0x09: lambda data, at: ({"$date": {"$numberLong": str(_INT64(data, at)[0])}}, at + 8),
    0x0A: _constant(None),
    0x0B: _regex,
    0x0C: _pointer,
    0x0D: _wrapped("$code", _text),
    0x0E: _wrapped("$symbol", _text),
    0x0F: _scoped_code,
    0x10: lambda data, at: ({"$numberInt": str(_INT32(data, at)[0])}, at + 4),
    0x11: _timestamp,
    0x12: lambda data, at: ({"$numberLong": str(_INT64(data, at)[0])}, at + 8),
    0x13: lambda data, at: ({"$numberDecimal": str(Decimal128.from_bid(data[at : at + 16]))}, at + 16),
    0x7F: _constant({"$maxKey": 1}),
    0xFF: _constant({"$minKey": 1}),
}
