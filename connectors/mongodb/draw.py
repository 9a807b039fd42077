"""Random documents of a collection, by their `_id`s: the same ones for the same seed and the same documents.

Invariant: every document that the job reads is as likely to be drawn as any other. `$sample` has no seed, and
nobody but the server knows how `_id`s are spread: so places are counted along the index on `_id`, which the
server does without a document read or sent.
"""

import heapq
import math
from collections.abc import AsyncIterator, Mapping
from hashlib import blake2b
from random import Random
from typing import Any

from bson import MaxKey

from connectors.mongodb.chunks import starts_of
from connectors.mongodb.layout import ID
from connectors.mongodb.positions import id_element, position_text, position_value
from connectors.mongodb.query import Query, in_commands
from connectors.mongodb.session import MAX_TIME_MS

STREAMED_DOCUMENTS = 200_000
"""Up to so many `_id`s are all looked at. Measured: 0.8 s; beyond, counting places takes 0.4 s a million."""
RARE = 0.05
"""Where a smaller share of the documents passes the job's filter, those that do are looked at one by one."""
PROBED = 1_000
"""Documents that are drawn at least to learn that share."""
SPARE = 1.2
"""How many more documents are drawn than should be needed, where some of them don't pass the filter."""
BATCH_IDS = 10_000

_IDS_ONLY = {ID: 1}


async def draw(
    collection: Any, session: Any, where: Mapping[str, Any], count: int, seed: int, documents: int
) -> list[bytes]:
    """Return the `_id`s, as documents, of up to `count` random ones of those that `where` asks for.

    `documents` are those of the whole collection, as the server counts them.
    """
    if documents <= STREAMED_DOCUMENTS:
        return await _least(collection, session, where, count, seed)
    drawn = await _along_the_index(
        collection, session, max(count, PROBED) if where else count, seed, documents
    )
    if where:
        passed = await _passing(collection, session, where, drawn)
        if len(passed) <= RARE * len(drawn):
            return await _least(collection, session, where, count, seed)
        more = math.ceil(SPARE * count * len(drawn) / len(passed))
        drawn = await _along_the_index(collection, session, more, seed, documents)
        drawn = await _passing(collection, session, where, drawn)
    return heapq.nsmallest(count, drawn, key=_lot(seed))


def _lot(seed: int) -> Any:
    """Return a function that gives each `_id` a lot."""
    key = str(seed).encode()
    return lambda element: blake2b(element, key=key, digest_size=8).digest()


async def _least(
    collection: Any, session: Any, where: Mapping[str, Any], count: int, seed: int
) -> list[bytes]:
    """Look at the `_id`s of all documents that pass, and keep those with the least lots."""
    lot = _lot(seed)
    kept: list[bytes] = []
    cursor = collection.find_raw_batches(
        where, _IDS_ONLY, session=session, batch_size=BATCH_IDS, max_time_ms=MAX_TIME_MS
    )
    if not where:  # else the server knows best by which index it finds them
        cursor = cursor.hint([(ID, 1)])
    async for elements in _elements(cursor):
        kept = heapq.nsmallest(count, [*kept, *elements], key=lot)
    return kept


async def _along_the_index(
    collection: Any, session: Any, count: int, seed: int, documents: int
) -> list[bytes]:
    """Return the `_id`s at random places of the index, found by leaping from one to the next."""
    random = Random(seed)  # noqa: S311 - a sample, not a secret
    found: list[bytes] = []
    at = 0
    for place in sorted(random.sample(range(documents), min(count, documents))):
        cursor = collection.find_raw_batches({}, _IDS_ONLY, session=session, max_time_ms=MAX_TIME_MS)
        cursor = cursor.sort([(ID, 1)]).hint([(ID, 1)])
        if found:
            cursor = cursor.min([(ID, _value(found[-1]))])
        elements = await _all(cursor.skip(place - at).limit(1))
        if (
            not elements
        ):  # there are fewer than the server thought; or what follows is MaxKey, where `min` ends
            last = collection.find_raw_batches(
                {ID: MaxKey()}, _IDS_ONLY, session=session, max_time_ms=MAX_TIME_MS
            )
            return found + await _all(last)
        found += elements
        at = place
    return found


async def _passing(
    collection: Any, session: Any, where: Mapping[str, Any], elements: list[bytes]
) -> list[bytes]:
    """Return those `_id`s whose documents pass the job's filter."""
    query = Query(where, _IDS_ONLY, BATCH_IDS, lasting=False)
    ids = ([_value(element)] for element in elements)
    cursors = [query.among(collection, session, some) for some in in_commands(ids)]
    return [element for cursor in cursors for element in await _all(cursor)]


def _value(element: bytes) -> Any:
    return position_value(position_text(element))


async def _all(cursor: Any) -> list[bytes]:
    return [element async for part in _elements(cursor) for element in part]


async def _elements(cursor: Any) -> AsyncIterator[list[bytes]]:
    """Yield the `_id`s of each raw batch."""
    async for data in cursor:
        raw = bytes(data)
        elements = [id_element(raw, start) for start in starts_of(raw)]
        yield [element for element in elements if element is not None]
