"""The walk over BSON, one value at a time: every type as a fragment in the target's notation. Pure.

Invariant: a fragment without a flaw says what the bytes say; nothing is decoded by a library that would drop
a duplicate name, a type or a digit on the way.
"""

import base64
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from json.encoder import encode_basestring as json_text  # in C where the interpreter has it

from bson.decimal128 import Decimal128

from connectors.mongodb.extended import double_text, extended
from engine.contracts.documents import AS_TEXT, NUMBER_FLAW, DocumentCodec
from engine.documents.writing import has_nameless, plain_fragment

# Source: https://bsonspec.org/spec.html
DOUBLE, STRING, DOCUMENT, ARRAY, BINARY, UNDEFINED, OBJECT_ID, BOOL, DATE, NULL = range(1, 11)
REGEX, DB_POINTER, CODE, SYMBOL, CODE_WITH_SCOPE, INT32, TIMESTAMP, INT64, DECIMAL128 = range(11, 20)
MIN_KEY, MAX_KEY = 0xFF, 0x7F
GENERIC, UUID = 0, 4
"""Subtypes of binaries that have an attribute type of their own."""

INT32_AT, INT64_AT, DOUBLE_AT = (struct.Struct(code).unpack_from for code in ("<i", "<q", "<d"))
UNSUPPORTED = "value_unsupported"
_FIXED_SIZES = {
    DOUBLE: 8,
    UNDEFINED: 0,
    OBJECT_ID: 12,
    BOOL: 1,
    DATE: 8,
    NULL: 0,
    INT32: 4,
    TIMESTAMP: 8,
    INT64: 8,
}
_FIXED_SIZES |= {DECIMAL128: 16, MIN_KEY: 0, MAX_KEY: 0}
_LENGTH_EXTRAS = {
    STRING: 4,
    CODE: 4,
    SYMBOL: 4,
    DOCUMENT: 0,
    ARRAY: 0,
    CODE_WITH_SCOPE: 0,
    BINARY: 5,
    DB_POINTER: 16,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS, _ERA_DAYS, _ERA_YEARS = 86_400_000, 146_097, 400
YEAR_1_MS, YEAR_10000_MS = -62_135_596_800_000, 253_402_300_800_000
WHOLE_DOUBLE_MAX = 1e15
"""Below it a double without a fraction is the integer that it prints as."""


def elements(data: bytes, document: int) -> Iterator[tuple[int, bytes, int, int]]:
    """Yield each element of a document, or list: its type, its name, where its value begins and ends."""
    at = document + 4
    while kind := data[at]:
        name_end = data.index(0, at)
        begin = name_end + 1
        size = _FIXED_SIZES.get(kind)
        end = _end(kind, data, begin) if size is None else begin + size
        yield kind, data[at + 1 : name_end], begin, end
        at = end


def _end(kind: int, data: bytes, at: int) -> int:
    extra = _LENGTH_EXTRAS.get(kind)
    if extra is not None:
        return at + int(INT32_AT(data, at)[0]) + extra
    assert kind == REGEX, f"BSON has no type {kind:#x}"
    return data.index(b"\0", data.index(b"\0", at) + 1) + 1


class Walk:
    """Values being turned into fragments in a codec's notation: what they add up to since `begin`."""

    __slots__ = ("_codec", "_notation", "depth", "flaw", "size")

    def __init__(self, codec: DocumentCodec) -> None:
        self._codec = codec
        self._notation = codec.notation
        self.begin()

    def begin(self) -> None:
        """Forget everything: another fragment begins."""
        self.size = 0
        self.depth = 0
        self.flaw: str | None = None

    def spoil(self, flaw: str) -> None:
        """Keep the first flaw; one that no option allows goes before a bad number."""
        self.flaw = flaw_within(self.flaw, flaw)

    def value(self, kind: int, data: bytes, at: int, level: int) -> str:
        """Return the fragment of the value at a place, which lies within `level` lists and maps."""
        if kind == STRING:
            raw = data[at + 4 : at + 3 + INT32_AT(data, at)[0]]
            self.size += len(raw)
            before, after = self._notation.string
            return f"{before}{json_text(self.text(raw))}{after}"
        if kind == INT32:
            return self._integer(INT32_AT(data, at)[0])
        if kind == DOCUMENT:
            return self._map(data, at, level)
        if kind == ARRAY:
            return self._list(data, at, level)
        if kind == OBJECT_ID:
            self.size += 24
            return self._string(f'"{data[at : at + 12].hex()}"')
        if kind == DATE:
            iso = iso_date(INT64_AT(data, at)[0])
            self.size += len(iso)
            return self._string(f'"{iso}"')
        if kind == BOOL:
            self.size += self._notation.bool_size
            before, after = self._notation.bool
            return f"{before}{'true' if data[at] else 'false'}{after}"
        if kind == NULL:
            return self._null()
        if kind == DOUBLE:
            return self._double(DOUBLE_AT(data, at)[0])
        if kind == INT64:
            return self._integer(INT64_AT(data, at)[0])
        if kind == DECIMAL128:
            return self._number(str(Decimal128.from_bid(data[at : at + 16])))
        return self._other(kind, data, at, level)

    def text(self, raw: bytes) -> str:
        """Decode a text; one that isn't UTF-8 is a flaw."""
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.spoil(f"{UNSUPPORTED}: a text that isn't UTF-8")
            return raw.decode(errors="replace")

    def _map(self, data: bytes, at: int, level: int) -> str:
        if is_reference(data, at):
            return self._extended(DOCUMENT, data, at, level)
        members: list[str] = []
        names: set[bytes] = set()
        for kind, name, begin, _ in elements(data, at):
            names.add(name)
            members.append(f"{self.name(name)}:{self.value(kind, data, begin, level + 1)}")
        if len(names) < len(members):
            self.spoil(f"{UNSUPPORTED}: a name stands twice in one document")
        self._enter(level, len(members))
        before, after = self._notation.map
        return f"{before}{','.join(members)}{after}"

    def name(self, raw: bytes) -> str:
        """Return a member's name as JSON, and count it."""
        self.size += len(raw)
        if not raw:
            self._nameless()
        quoted = _known_name(raw)
        return json_text(self.text(raw)) if quoted is None else quoted

    def _nameless(self) -> None:
        if self._notation.nameless is not None:
            self.spoil(f"{UNSUPPORTED}: {self._notation.nameless}")

    def _list(self, data: bytes, at: int, level: int) -> str:
        found: list[str] = []
        for kind, _, begin, _ in elements(data, at):  # a comprehension is one frame more for each level
            found.append(self.value(kind, data, begin, level + 1))
        self._enter(level, len(found))
        before, after = self._notation.list
        return f"{before}{','.join(found)}{after}"

    def _enter(self, level: int, count: int) -> None:
        self.size += self._notation.container_size + self._notation.element_size * count
        if level >= self.depth:
            self.depth = level + (count > 0)

    def _double(self, value: float) -> str:
        if -WHOLE_DOUBLE_MAX < value < WHOLE_DOUBLE_MAX and value == int(value):
            return self._integer(int(value))
        return self._number(double_text(value))

    def _number(self, exact: str) -> str:
        text, size, flaw = self._codec.number(exact)
        self.size += size
        if flaw is not None:
            self.spoil(flaw)
            return self._string(f'"{text}"')
        before, after = self._notation.number
        return f"{before}{text}{after}"

    def _integer(self, value: int) -> str:
        wire, size = self._codec.integer(value)
        self.size += size
        return wire

    def _string(self, quoted: str) -> str:
        before, after = self._notation.string
        return f"{before}{quoted}{after}"

    def _null(self) -> str:
        self.size += self._notation.null_size
        return self._notation.null

    def _other(self, kind: int, data: bytes, at: int, level: int) -> str:
        if kind == BINARY:
            length, subtype = INT32_AT(data, at)[0], data[at + 4]
            if subtype == GENERIC:
                self.size += length
                before, after = self._notation.binary
                return f"{before}{base64.b64encode(data[at + 5 : at + 5 + length]).decode()}{after}"
            if subtype == UUID and length == 16:
                self.size += 36
                return self._string(f'"{uuid_text(data[at + 5 : at + 21].hex())}"')
        return self._extended(kind, data, at, level)

    def _extended(self, kind: int, data: bytes, at: int, level: int) -> str:
        try:
            value = extended(kind, data, at)
            wire, size, depth = plain_fragment(value, self._codec)
        except UnicodeDecodeError:
            self.spoil(f"{UNSUPPORTED}: a text that isn't UTF-8")
            return self._null()
        except ValueError as error:
            self.spoil(f"{UNSUPPORTED}: {error}")
            return self._null()
        if has_nameless(value):
            self._nameless()
        self.size += size
        self.depth = max(self.depth, level + depth)
        return wire


def first_flaw(before: str | None, flaw: str) -> str:
    """Return which of two flaws is kept: the first, but one that no option allows before a bad number."""
    if before is None or (before.startswith(NUMBER_FLAW) and not flaw.startswith(NUMBER_FLAW)):
        return flaw
    return before


def flaw_within(before: str | None, flaw: str) -> str:
    """Do the same for two flaws of one value, which has a text only if both end with AS_TEXT."""
    kept = first_flaw(before, flaw)
    return kept if before is None or (AS_TEXT in before and AS_TEXT in flaw) else kept.replace(AS_TEXT, "")


def placed(flaw: str, quoted: str) -> str:
    """Return a flaw with the name, as JSON, of the field that has it."""
    reason, _, detail = flaw.partition(": ")
    return f"{reason}: {quoted[1:-1]}: {detail}"


def is_reference(data: bytes, at: int) -> bool:
    """Say whether a document is a DBRef: a `$ref` that is text, then an `$id`, and no `$db` but of text.

    Source: https://github.com/mongodb/specifications/blob/master/source/dbref/dbref.md
    """
    if data[at + 4 : at + 10] != b"\x02$ref\0":
        return False
    kinds = [(kind, name) for kind, name, _, _ in elements(data, at)]
    names = [name for _, name in kinds]
    return names[1:2] == [b"$id"] and all(kind == STRING for kind, name in kinds if name == b"$db")


def iso_date(ms: int) -> str:
    """Return a moment as ISO 8601 in UTC, milliseconds only when not zero; far years have a sign.

    Units: milliseconds since 1970.
    """
    if YEAR_1_MS <= ms < YEAR_10000_MS:
        whole, fraction = divmod(ms, 1000)
        text = (_EPOCH + timedelta(seconds=whole)).isoformat()[:19]
    else:
        days, of_day = divmod(ms, _DAY_MS)
        eras = (days - (YEAR_10000_MS // _DAY_MS - _ERA_DAYS)) // _ERA_DAYS
        inside = _EPOCH + timedelta(days=days - eras * _ERA_DAYS, seconds=of_day // 1000)
        year, fraction = inside.year + eras * _ERA_YEARS, of_day % 1000
        sign = "" if 0 <= year <= 9999 else "-" if year < 0 else "+"
        text = f"{sign}{abs(year):04d}-{inside:%m-%dT%H:%M:%S}"
    return f"{text}.{fraction:03d}Z" if fraction else f"{text}Z"


def uuid_text(digits: str) -> str:
    """Return a UUID's canonical text."""
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


@lru_cache(maxsize=1 << 12)
def _known_name(raw: bytes) -> str | None:
    """Return a sound name as JSON; names come again and again."""
    try:
        return json_text(raw.decode())
    except UnicodeDecodeError:
        return None
