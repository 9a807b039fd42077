"""The text of a request around its items, and the item out of its text. Pure.

Invariant: items are never parsed or copied on their way into a request; only a dead letter's is.
"""

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from connectors.dynamodb.encoding.entries import entry_of
from connectors.dynamodb.limits import CAPACITY_WANTED, REQUEST_BYTES_MAX
from connectors.dynamodb.modes import WriteMode
from connectors.dynamodb.writing.answers import CAPACITY_UNKNOWN
from connectors.dynamodb.writing.requests import ItemSpan, Request
from engine.batch import EncodedBatch

CAPACITY_ASKED = (CAPACITY_WANTED, b',"ReturnConsumedCapacity":"TOTAL"', b"")
"""What requests ask about capacity, best first: some servers know no INDEXES, others none of it.
Source: scylladb/scylladb#29138."""


class ApiCall(NamedTuple):
    """One API call. Shape: `parts` joined are the body."""

    operation: str
    parts: Sequence[bytes | memoryview]


class RequestBuilder:
    """Makes requests to one table in one mode."""

    def __init__(self, mode: WriteMode, table: str) -> None:
        self._mode = mode
        self._table = table
        self._head = b"" if mode.head is None else mode.head(table)
        self.asked = 0
        """Index in CAPACITY_ASKED of what requests ask about capacity now."""
        self._set_tail()
        self.bytes_max = REQUEST_BYTES_MAX - len(self._head) - len(self._tail)

    def asks_too_much(self, request: Request, detail: str) -> bool:
        """Say whether a request was refused for what it asks about capacity, and not for its items."""
        return request.asked < self.asked or (self.counted and CAPACITY_UNKNOWN.search(detail) is not None)

    def ask_less(self, request: Request, detail: str) -> str | None:
        """Ask less than this request did from now on; return what the user should know, once."""
        if request.asked < self.asked:
            return None
        assert self.counted, "there is nothing less to ask"
        self.asked += 1
        self._set_tail()
        if request.asked > 0:
            return None
        return (
            f"table {self._table}'s server doesn't tell capacity index by index ({detail}):"
            " what it tells is counted, and what it doesn't is estimated from the items' sizes"
        )

    def call(self, request: Request) -> ApiCall:
        """Wrap the items of a request."""
        request.asked = self.asked
        if not self._head:
            return self._single(request.spans[0])
        texts = [
            span.batch.encoded.text[span.batch.offsets[span.start] : span.batch.offsets[span.stop]]
            for span in request.spans
        ]
        texts[-1] = texts[-1][:-1]
        return ApiCall(self._mode.operation, (self._head, *texts, self._tail))

    def _single(self, item: ItemSpan) -> ApiCall:
        """Return the call that an item's text is; it asks about capacity by itself, at its end."""
        batch, index = item.batch, item.start
        operation = "DeleteItem" if batch.is_delete(index) else "PutItem"
        start, comma = batch.offsets[index], batch.offsets[index + 1] - 1
        if not self.asked:
            return ApiCall(operation, (batch.encoded.text[start:comma],))
        # `…,"ReturnConsumedCapacity":"INDEXES"},`
        asks = comma - len(CAPACITY_WANTED) - 1
        return ApiCall(operation, (batch.encoded.text[start:asks], self._tail))

    def _set_tail(self) -> None:
        self._tail = self._mode.closing + CAPACITY_ASKED[self.asked] + b"}"
        self.counted = CAPACITY_ASKED[self.asked] != b""
        """Whether requests ask the server what they cost at all."""

    def item_json(self, encoded: EncodedBatch, index: int) -> str | None:
        """Return an item as DynamoDB JSON; None for a delete, which has none."""
        if encoded.deletes[index]:
            return None
        return orjson.dumps(entry_of(encoded.item(index)).item).decode()
