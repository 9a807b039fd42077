"""Feed an extension that was built with sanitizers: `fuzz_walk.py EXTENSION SEEDS`. Loads nothing heavy.

Each buffer is a block of its own from malloc, no longer than it says, so that a byte too far is seen.
"""

import ctypes
import importlib.util
import struct
import sys
from collections.abc import Iterator
from itertools import accumulate, pairwise
from random import Random
from types import ModuleType
from typing import Any

from tests.support import bson_bytes, json_texts

WORDS = b'{"S":|}|{"N":"|"}|{"B":"|"}|{"BOOL":|}|{"L":[|]}|{"M":{|}}|{"NULL":true}'.split(b"|")
NOTATION = (tuple(WORDS), 1, 1, 3, 1, 38, -130, 125, 40, 21, 64, False)
PATHS = [(), (), (), (b'"a"',), (b'"a"', b'"a"'), (b'"k"',)]
COLUMN_ROWS = 50
LAYOUT = (
    *(5, 7, 0),
    (
        (b"", -1, -1, -1, 0, True),
        *((b"_id", 0, 0, -1, 0, False), (b"a", 0, 1, -1, 1, False), (b"b", 0, 2, -1, 0, True)),
        *((b"a", 3, -1, -1, 0, False), (b"l", 0, -1, 0, 0, False)),
        *((b"", -1, -1, -1, 0, True), (b"a", 6, 5, -1, 0, False), (b"b", 6, -1, -1, 0, True)),
        (b"c", 8, 6, -1, 0, False),
    ),
    ((3, 6, 5, 2),),
    (4,),
)
"""Columns `_id`, `a`, `b`, a list `l` with its `a` and `b.c`, and a rest without `a`; see bson_columns.c."""


def loaded(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("_walk", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def block(octets: bytes) -> Any:
    return (ctypes.c_char * len(octets)).from_buffer_copy(octets)


def column(texts: list[bytes]) -> tuple[Any, Any, None, int, int]:
    ends = [0, *accumulate(map(len, texts))]
    return block(b"".join(texts)), block(struct.pack(f"={len(ends)}i", *ends)), None, 0, len(texts)


def mutated(octets: bytes, random: Random) -> bytes:
    """Cut it, turn bits over, and put bytes in: invalid UTF-8 among them."""
    changed = bytearray(octets)
    for _ in range(random.randrange(4)):
        at = random.randrange(len(changed) + 1)
        match random.randrange(4):
            case 0:
                del changed[at:]
            case 1:
                changed[at:at] = bytes(
                    [random.choice(b'{}[]",:\\u0eE.-\x00\x1f\x80\xc3\xe2\xed\xf0\xf4\xff')]
                )
            case 2 if at < len(changed):
                changed[at] ^= 1 << random.randrange(8)
            case _:
                changed[at:at] = changed[at : at + random.randrange(40)] * random.randrange(1, 4)
    return bytes(changed)


def columns(seeds: int) -> Iterator[list[bytes]]:
    for seed in range(seeds):
        random = Random(seed)
        for _ in range(20):
            form = random.choice([json_texts.sound, json_texts.any_text])
            texts = [form(random).encode("utf-8", "replace") for _ in range(COLUMN_ROWS)]
            yield [mutated(text, random) if random.random() < 0.6 else text for text in texts]
    for count in (0, 1, 7, 8, 9, 64, 10_000):
        pieces = (
            b"[",
            b'{"a":',
            b'"',
            b"\\",
            b"1",
            b"-",
            b"0.",
            b"1e",
            b'"\\ud83d',
            b"\xf0\x9f",
            b"t",
            b'{"a":1,',
        )
        yield [piece * count for piece in pieces]


def raw_documents(seeds: int) -> Iterator[bytes]:
    for seed in range(seeds):
        random = Random(seed)
        for number in range(500):
            document = bson_bytes.with_id(number, random)
            yield mutated(document, random) if random.random() < 0.6 else document
            yield spoiled(document, random)
    for levels in (100, 180, 255, 256, 257, 5_000):
        yield bson_bytes.nested(levels)
    yield bson_bytes.written(bson_bytes.element(2, b"a", bson_bytes.text(b"\0" * 1_000_000)))


def spoiled(document: bytes, random: Random) -> bytes:
    """Put a number where a length, a type or a value may stand."""
    at = random.randrange(len(document))
    number = struct.pack("<i", random.choice([-(2**31), -1, 0, 1, 4, 5, 2**31 - 1, 2**31 - 5]))
    return document[:at] + number[: random.choice([1, 4])] + document[at + 4 :]


def walk_documents(walk: ModuleType, seeds: int) -> None:
    fine = rows = 0
    for document in raw_documents(seeds):
        data = block(document)
        walk.starts(data)
        for starts in ([0], [0, len(document), len(document) // 2]):
            codes, *_ = walk.columns(data, block(struct.pack(f"={len(starts)}q", *starts)), NOTATION, LAYOUT)
            fine += codes[:1].count(0)
            rows += 1
    print(f"{rows:,} BSON documents, {fine / rows:.0%} of them plain")


def cut_rows(walk: ModuleType, seeds: int) -> None:
    cut = chunks = 0
    for seed in range(seeds):
        random = Random(seed)
        for _ in range(200):
            fields = [b"", b"a", b"\x1e\x1e", b"\x1ea\nb\x1e", b"\xc3\xbc" * random.randrange(20), b"x" * 17]
            rows = [b"\x1f".join(random.choices(fields, k=3)) + b"\n" for _ in range(random.randrange(20))]
            data = b"".join(rows)
            data = mutated(data, random) if random.random() < 0.6 else data
            cut += walk.rows(block(data), b"\x1f\x1e", 3) is not None
            chunks += 1
    print(f"{chunks:,} chunks of rows, {cut / chunks:.0%} of them as they are printed")


def main(path: str, seeds: int) -> None:
    walk = loaded(path)
    walk_documents(walk, seeds)
    cut_rows(walk, seeds)
    fine = rows = 0
    cuts = pieces = 0
    for texts in columns(seeds):
        random = Random(len(texts[0]))
        for some in (texts, *([text] for text in texts)):
            text, where, _, _, codes = walk.documents(*column(some), NOTATION)
            fine += codes.count(0)
            rows += len(some)
            ends = struct.unpack(f"={len(some) + 1}i", where)
            wires = [text[begin:end] for begin, end in pairwise(ends)]
            wires = [mutated(wire, random) if random.random() < 0.6 else wire for wire in wires]
            codes = walk.part(*column(wires), NOTATION, random.choice(PATHS))[-1]
            codes += walk.texts(*column(wires), NOTATION)[-1]
            codes += walk.elements(*column(wires), NOTATION)[-1]
            items = [b'{"k":%b,"\\u006b":%b}' % (wire, wire) for wire in wires]
            for item in (*items, b"[%b]" % b",".join(items)):
                walk.members(block(mutated(item, random)), random.randrange(1, 4), b"MS")
            pieces += codes.count(0)
            cuts += len(codes)
    print(f"{rows:,} texts, {fine / rows:.0%} of them documents without a flaw")
    print(f"{cuts:,} cuts, {pieces / cuts:.0%} of them with something in them")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
