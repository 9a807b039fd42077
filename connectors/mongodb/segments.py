"""Cuts a collection into ranges of `_id` that are even by documents, at `_id`s that the server has chosen.

Invariant: the ranges cover every `_id` of every type: the first is open below, the last above. The document
at a boundary belongs to the range that it opens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.errors import OperationFailure

from connectors.mongodb.errors import tier_refuses
from connectors.mongodb.positions import value_text
from connectors.mongodb.session import CODEC, MAX_TIME_MS, awaited
from engine.batch import Cursor, Segment

SAMPLED_PER_SEGMENT, SAMPLED_MIN = 1_000, 10_000
SAMPLED_MAX = 64_000
"""However many segments there are: each document that is drawn costs a page of up to 32 KB, so 2 GB at most
before the first write. Of 4,000 segments each goes by 16, and is larger or smaller by a quarter.

Source: WiredTiger documentation, "Tuning page size and compression", leaf_page_max.
"""
RANDOM_SHARE_MAX = 0.05
"""Up to this share of a collection `$sample` walks it at random; beyond it reads all of it.

Source: https://www.mongodb.com/docs/manual/reference/operator/aggregation/sample/
"""
FILTERED_PER_SEGMENT_MIN = 20


async def cut(
    collection: Any, query: Mapping[str, Any], wanted: int, documents: int, expected: int | None
) -> Sequence[Segment]:
    """Cut into about `wanted` segments.

    Units: `documents` in the whole collection, `expected` of them to be read, None when unknown.
    """
    if wanted <= 1:
        return (Segment(0, None, None, expected),)
    size = min(SAMPLED_MAX, max(SAMPLED_MIN, SAMPLED_PER_SEGMENT * wanted))
    source: list[dict[str, Any]] = [{"$project": {"_id": 1}}]
    if size < documents * RANDOM_SHARE_MAX:
        source = [{"$sample": {"size": size}}, *source]
    buckets: list[tuple[str, int]] = []
    if query:
        matched: list[dict[str, Any]] = [source[0], {"$match": dict(query)}, source[-1]]
        buckets = await _buckets(collection, matched if len(source) > 1 else matched[1:], wanted)
    if sum(count for _, count in buckets) < wanted * FILTERED_PER_SEGMENT_MIN:
        buckets = await _buckets(collection, source, wanted)
    return between(buckets, expected)


def between(buckets: Sequence[tuple[str, int]], expected: int | None) -> Sequence[Segment]:
    """Return the segments that buckets, each with its lowest `_id` and its count, make of the whole."""
    total = sum(count for _, count in buckets)
    if not total:
        return (Segment(0, None, None, expected),)
    segments: list[Segment] = []
    for number, (lowest, count) in enumerate(buckets):
        after = Cursor((lowest,)) if number else None
        until = Cursor((buckets[number + 1][0],)) if number + 1 < len(buckets) else None
        rows = None if expected is None else round(expected * count / total)
        segments.append(Segment(number, after, until, rows))
    return segments


async def _buckets(collection: Any, source: list[dict[str, Any]], wanted: int) -> list[tuple[str, int]]:
    """Let the server sort `_id`s and cut them; only the server knows their order."""
    pipeline = [*source, {"$bucketAuto": {"groupBy": "$_id", "buckets": wanted}}]
    plain = collection.with_options(codec_options=CODEC)
    try:
        cursor = await awaited(plain.aggregate(pipeline, allowDiskUse=True, maxTimeMS=MAX_TIME_MS))
    except OperationFailure as error:
        if not tier_refuses(error):
            raise
        cursor = await awaited(plain.aggregate(pipeline, maxTimeMS=MAX_TIME_MS))
    return [(value_text(bucket["_id"]["min"]), bucket["count"]) async for bucket in cursor]
