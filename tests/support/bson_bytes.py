"""Random BSON documents as bytes, of every type that there is; nothing of a driver has a part in it."""

import struct
from random import Random

NAMES = (b"a", b"b", b"c", b"l", b"\xc3\xbc", b'q"', b"a.b", b"$x", b"a long name with spaces", b"n\x01")
TEXTS = (b"", b"x", b"plain text of some length", b'"\\', b"\0\n\x1f\x7f", "é日😀".encode(), b"a" * 300)
PLAIN = (0x01, 0x02, 0x03, 0x04, 0x05, 0x07, 0x08, 0x09, 0x0A, 0x10, 0x11, 0x12, 0x13)
"""Types that need no Python."""
OTHERS = (0x06, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x7F, 0xFF, 0x14)
DATES = (
    0,
    -1,
    1,
    951_782_400_000,
    1_709_164_800_000,
    -62_135_596_800_000,
    253_402_300_799_999,
    4_107_542_400_000,
)
INTS = (0, 1, -1, 9, 10, 100, -100, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 10**18, -(10**15))


def text(content: bytes) -> bytes:
    return struct.pack("<i", len(content) + 1) + content + b"\0"


def written(elements: bytes) -> bytes:
    return struct.pack("<i", len(elements) + 5) + elements + b"\0"


def element(kind: int, name: bytes, value: bytes) -> bytes:
    return bytes([kind]) + name + b"\0" + value


def double(random: Random) -> float:
    """Return a double of few digits or of many."""
    match random.randrange(4):
        case 0:
            return random.randrange(-(10**6), 10**6) / 10 ** random.randrange(8)
        case 1:
            return random.choice([1, -1]) * random.uniform(1, 10) * 10.0 ** random.randrange(-6, 14)
        case 2:
            return float(f"{random.randrange(10**16, 10**17)}e{random.randrange(-22, -2)}")
        case _:
            return random.choice([0.0, -0.0, 0.1 + 0.2, 1e15 - 0.125, -1e14 / 3, 5e-7, 999999.9999999999])


def decimal(random: Random) -> bytes:
    """Return a Decimal128 of up to 34 digits that DynamoDB takes."""
    digits = random.randrange(10 ** random.randrange(1, 35))
    exponent = random.randrange(-60, 60) + 6176
    return (random.randrange(2) << 127 | exponent << 113 | digits).to_bytes(16, "little")


def plain(random: Random, kind: int, depth: int, *, odd: bool) -> bytes:
    """Return a value of one of the types that need no Python."""
    match kind:
        case 0x01:
            return struct.pack("<d", double(random))
        case 0x02:
            return text(random.choice(TEXTS))
        case 0x03:
            return document(random, depth - 1, odd=odd)
        case 0x04:
            return array(random, depth - 1, odd=odd)
        case 0x05:
            content = random.randbytes(random.randrange(20))
            return random.choice(
                [
                    struct.pack("<iB", len(content), 0) + content,
                    struct.pack("<iB", 16, 4) + random.randbytes(16),
                    struct.pack("<iB", len(content), random.choice([1, 3, 4, 5, 128])) + content,
                ]
            )
        case 0x07:
            return random.randbytes(12)
        case 0x08:
            return bytes([random.randrange(2)])
        case 0x09:
            moment = random.choice([*DATES, random.randrange(-(10**13), 10**13)])
            return struct.pack("<q", moment)
        case 0x0A:
            return b""
        case 0x10:
            return struct.pack("<i", random.choice([n for n in INTS if -(2**31) <= n < 2**31]))
        case 0x11:
            return struct.pack("<II", random.choice([0, 1, 2**32 - 1]), random.randrange(2**32))
        case 0x12:
            return struct.pack("<q", random.choice([*INTS, random.randrange(-(2**63), 2**63)]))
        case _:
            return decimal(random)


def other(random: Random, kind: int) -> bytes:
    """Return a value of a type that Python writes."""
    match kind:
        case 0x0B:
            return b"^a\0im\0"
        case 0x0C:
            return text(b"db.c") + random.randbytes(12)
        case 0x0D | 0x0E:
            return text(random.choice(TEXTS))
        case 0x0F:
            inner = text(b"f()") + document(random, 0, odd=False)
            return struct.pack("<i", len(inner) + 4) + inner
        case _:
            return b""


def odd_value(random: Random) -> tuple[int, bytes]:
    """Return a value that has a flaw, or may have one, or goes another way."""
    kind = random.choice(OTHERS[:-1])
    return random.choice(
        [
            (kind, other(random, kind)),
            (0x01, struct.pack("<d", random.choice([float("nan"), float("inf"), 1e300, 5e-324, 2.0**-60]))),
            (0x02, text(random.choice([b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80"]))),
            (0x03, written(element(0x02, b"$ref", text(b"c")) + element(0x07, b"$id", random.randbytes(12)))),
            (0x03, written(element(0x0A, b"", b""))),
            (0x03, written(element(0x0A, b"n", b"") + element(0x08, b"n", b"\1"))),
            (0x05, struct.pack("<iBi", 7, 2, 3) + b"abc"),
            (0x09, struct.pack("<q", random.choice([-(2**63), 2**63 - 1, 253_402_300_800_000]))),
            (
                0x13,
                random.randbytes(14)
                + bytes([random.randrange(256), random.choice([0x7C, 0x78, 0xF8, 0x6F])]),
            ),
        ]
    )


def elements(random: Random, names: list[bytes], depth: int, *, odd: bool) -> bytes:
    found = b""
    for name in names:
        kind = random.choice([each for each in PLAIN if depth > 0 or each not in (0x03, 0x04)])
        value = plain(random, kind, depth, odd=odd)
        if odd and random.random() < 0.03:
            kind, value = odd_value(random)
        found += element(kind, name, value)
    return found


def document(random: Random, depth: int = 3, *, odd: bool = True, first: bytes = b"") -> bytes:
    """Return a document; `odd`: a few of its values are."""
    names = random.sample(NAMES, random.randrange(7))
    if odd and random.random() < 0.02:
        names.append(random.choice(names or [b""]))
    return written(first + elements(random, names, depth, odd=odd))


def array(random: Random, depth: int, *, odd: bool) -> bytes:
    return written(elements(random, [b"%d" % n for n in range(random.randrange(5))], depth, odd=odd))


def nested(levels: int) -> bytes:
    """Return documents and lists within one another."""
    found = written(b"")
    for level in range(levels):
        found = written(
            element(0x03, b"a", found) if level % 2 else element(0x04, b"l", written(element(3, b"0", found)))
        )
    return found


def with_id(number: int, random: Random, *, odd: bool = True) -> bytes:
    """Return a document with an ObjectId of its own."""
    return document(random, odd=odd, first=element(0x07, b"_id", number.to_bytes(12, "big")))
