"""What of a checkpoint doesn't change, in items of its own: written once, and referred to by its digest.

A run's fingerprint holds the source's standing, which of a table of thousands of partitions is longer than an
item may be; and whatever is in the run's own item is paid for with each checkpoint.

Shape: the parts of one compressed text, below any partition key: `TEXT#DIGEST#0003`, or the like with another
word in front. Invariant: all parts are there before anything refers to them, and a text that isn't what the
digest says is damage, never a text.
"""

import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b

from connectors.dynamodb.state.table import Item, key
from engine.frozen import dataclass
from engine.plain import dumped, loaded
from engine.state.records import Damaged, RunRecord

INLINE_BYTES = 4 * 2**10
"""What a run's item may hold of it: a checkpoint is written each second, in a transaction, which costs two
units a KB. Source: DynamoDB developer guide, "Read/write capacity mode", transactional writes."""

PART_BYTES = 256 * 2**10
"""Compressed text in one item, well below the 400 KB that one may have."""

TEXT_BYTES_MAX = 256 * 2**20
"""What a text may expand to: the standing of a million partitions."""

_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Still:
    """What of a run stays as it began; see RunState."""

    fingerprint: Mapping[str, str]
    watched: tuple[str, ...]
    rules: str | None
    former: tuple[str, ...]


def parted(record: RunRecord) -> tuple[RunRecord, str | None]:
    """Return a run's record without what doesn't change in it, and that as text; None where it is short."""
    run = record.run
    text = dumped(Still(run.fingerprint, run.watched, run.rules, run.former))
    if len(text.encode()) <= INLINE_BYTES:
        return record, None
    return replace(record, run=replace(run, fingerprint={}, watched=(), rules=None, former=())), text


def joined(record: RunRecord, text: str) -> RunRecord:
    """Return the record that was parted. Raises: Damaged."""
    try:
        still = loaded(Still, text)
    except ValueError as error:
        raise Damaged("what the run began with has another shape") from error
    run = replace(
        record.run,
        fingerprint=still.fingerprint,
        watched=still.watched,
        rules=still.rules,
        former=still.former,
    )
    return replace(record, run=run)


def digest(text: str) -> str:
    """Return by what a text is referred to."""
    return blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def parts(partition_key: str, word: str, text: str) -> Iterator[Item]:
    """Yield the items that keep a text."""
    packed, name = zlib.compress(text.encode()), digest(text)
    for number, start in enumerate(range(0, len(packed), PART_BYTES)):
        part = b64encode(packed[start : start + PART_BYTES]).decode()
        yield {**key(partition_key, f"{word}#{name}#{number:04d}"), "part": {"B": part}}


def text_of(found: Sequence[Item], name: str) -> str:
    """Return the text of which these items are the parts, in order. Raises: Damaged."""
    reader = zlib.decompressobj()
    try:
        packed = b"".join(b64decode(item["part"]["B"], validate=True) for item in found)
        text = reader.decompress(packed, TEXT_BYTES_MAX).decode()
    except (zlib.error, ValueError, KeyError) as error:
        raise Damaged(f"what it refers to as {name} can't be read") from error
    if not reader.eof or digest(text) != name:
        raise Damaged(f"what it refers to as {name} isn't what was written")
    return text
