"""Dead letters as items of the state table: compressed, cut, sorted by segment and version. Pure.

Invariant: the lines of one segment and version are the parts of one compressed text, in their order.
"""

import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence

from connectors.dynamodb.state.table import Item, key, run_key
from engine.batch import DeadLetter, Mark
from engine.clock import utc_now
from engine.errors import JobError
from engine.state.dead_letters import lines

LETTERS_PART_BYTES = 256 * 2**10
"""Compressed dead letters in one item, well below the 400 KB that an item may have."""

LETTERS_TEXT_BYTES_MAX = 256 * 2**20
"""What one segment's letters may expand to. Between two checkpoints a worker holds 8 MB of them
(run/letters.py), and one row's items, of at most 400 KB each, more at most."""

NO_SEGMENT = 50_000_000
"""Number from which on dead letters belong to no segment: redrive has kept them. No run has so many."""


def items(job: str, run_id: str, texts: Mapping[int, bytes], versions: Mapping[int, int]) -> Iterator[Item]:
    """Yield the items that keep dead letters: compressed and cut, because one may be over 400 KB."""
    for number, text in texts.items():
        packed = zlib.compress(text)
        for part, start in enumerate(range(0, len(packed), LETTERS_PART_BYTES)):
            sort_key = f"LETTERS#{number:08d}#{versions[number]:012d}#{part:06d}"
            yield {
                **key(run_key(job, run_id), sort_key),
                "lines": {"B": b64encode(packed[start : start + LETTERS_PART_BYTES]).decode()},
            }


def unpacked(parts: Sequence[Item]) -> bytes:
    """Return the text of which these items hold the parts. Raises: JobError when there is none of use."""
    reader = zlib.decompressobj()
    try:
        packed = b"".join(b64decode(part["lines"]["B"], validate=True) for part in parts)
        text = reader.decompress(packed, LETTERS_TEXT_BYTES_MAX)
    except (zlib.error, ValueError) as error:
        raise _damaged(parts, str(error)) from error
    if reader.unconsumed_tail:
        raise _damaged(parts, f"they expand to more than {LETTERS_TEXT_BYTES_MAX:,} bytes")
    if not reader.eof:
        raise _damaged(parts, "their end is missing")
    return text


def _damaged(parts: Sequence[Item], why: str) -> JobError:
    return JobError(
        f"the state table's dead letters {parts[0]['SK']['S']} are damaged ({why}): restore the table,"
        " or start over with --fresh"
    )


def kept(job: str, run_id: str, left: Iterable[bytes], before: Sequence[Item]) -> Iterator[Item]:
    """Yield the items of lines that replace those of `before`, under sort keys of their own."""
    version = 1 + max((segment_and_version(item)[1] for item in before), default=0)
    for number, text in enumerate(_in_parts(left), start=NO_SEGMENT):
        yield from items(job, run_id, {number: text}, {number: version})


def _in_parts(left: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines together as long as they fit into one item even if nothing can be compressed."""
    held: list[bytes] = []
    size = 0
    for line in left:
        if held and size + len(line) > LETTERS_PART_BYTES:
            yield b"".join(held)
            held, size = [], 0
        held.append(line)
        size += len(line)
    if held:
        yield b"".join(held)


def texts(run_id: str, marks: Sequence[Mark]) -> dict[int, bytes]:
    """Return the dead letters of marks as lines, by segment; segments without any are left out."""
    at = utc_now()
    letters: dict[int, list[DeadLetter]] = {}
    for mark in marks:
        if mark.dead_letters:
            letters.setdefault(mark.segment, []).extend(mark.dead_letters)
    return {number: lines(run_id, at, each) for number, each in letters.items()}


def segment_and_version(item: Item) -> tuple[int, int]:
    """Return which segment's letters an item holds, and of which version of it."""
    _, number, version, _ = item["SK"]["S"].split("#")
    return int(number), int(version)
