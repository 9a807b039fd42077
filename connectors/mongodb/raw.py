"""The raw batches of a cursor, one ahead, as the lists of documents that came in the replies.

Invariant: a cursor that isn't read to its end is closed; nothing of a reply is decoded but what stands beside
its documents.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import bson

from connectors.mongodb.bson_values import INT32_AT, elements
from connectors.mongodb.session import CODEC
from engine.tasks import ended

_CODEC = CODEC.with_options(unicode_decode_error_handler="replace")
"""Of what stands beside the documents: an error's message may quote bytes that are no text."""
BATCHES = frozenset({b"firstBatch", b"nextBatch"})
EMPTY = 5
"""The bytes of a document or list with nothing in it."""


async def raw_batches(cursor: Any) -> AsyncGenerator[bytes, None]:
    """Yield the raw batches of a cursor; the next one is on its way while one is at work.

    Shape: each a BSON array of documents.
    """
    _take_whole(cursor)
    coming = asyncio.create_task(_following(cursor))
    try:
        while (data := await coming) is not None:
            coming = asyncio.create_task(_following(cursor))
            yield data
    finally:
        await ended(coming)
        with suppress(Exception):
            await cursor.close()


async def _following(cursor: Any) -> bytes | None:
    """Return the next raw batch, None at the end."""
    try:
        return bytes(await cursor.__anext__())
    except StopAsyncIteration:
        return None


# Private door: the drivers make an object of each document of a raw batch, and throw it away (2.9 µs of 4).
def _take_whole(cursor: Any) -> None:
    """Let a cursor of raw batches hand over each batch as it stands in the reply."""
    own = getattr(cursor, "delegate", cursor)  # Motor wraps it
    assert hasattr(own, "_unpack_response"), "the driver takes replies apart in another place now"
    own._unpack_response = _unpacked


def _unpacked(response: Any, *_: Any, **__: Any) -> list[dict[str, Any]]:
    """Return a reply as the driver wants it; its batch is one value."""
    data = bytes(response.payload_document)
    found = _element(data, 0, frozenset({b"cursor"}))
    inside = None if found is None else _element(data, found[1], BATCHES)
    if found is None or inside is None:
        return [bson.decode(data, _CODEC)]
    cursor = found[1]
    begin, batch, end = inside
    rest = bytearray(data[:begin] + data[end:])
    for place in (0, cursor):
        rest[place : place + 4] = (INT32_AT(data, place)[0] - (end - begin)).to_bytes(4, "little")
    reply: dict[str, Any] = bson.decode(rest, _CODEC)
    name = data[begin + 1 : batch - 1].decode()
    reply["cursor"][name] = [data[batch:end]] if end - batch > EMPTY else []
    return [reply]


def _element(data: bytes, document: int, names: frozenset[bytes]) -> tuple[int, int, int] | None:
    """Return where an element of a document begins, its value and what follows it; None if it isn't there."""
    for _, name, value, end in elements(data, document):
        if name in names:
            return value - len(name) - 2, value, end
    return None
