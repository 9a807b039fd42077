"""The text of a request around the items of a lot, and the item out of its text. Pure.

Invariant: items are never parsed or copied on their way into a request; only a dead letter's is.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from connectors.dynamodb.limits import BATCH_ITEMS_MAX, REQUEST_BYTES_MAX, STATEMENTS_MAX
from connectors.dynamodb.writing.loads import Lot
from engine.batch import EncodedBatch
from engine.job.target import Mode

ITEMS_MAX: Mapping[Mode, int] = {"put": BATCH_ITEMS_MAX, "insert": STATEMENTS_MAX, "newer": 1}

STATEMENT_NAME = re.compile(r"'((?:[^']|'')*)'\s*:\s*\?")
"""An attribute in the VALUE clause of an INSERT."""


@dataclass(frozen=True, slots=True)
class Request:
    """One API call. Shape: `parts` joined are the body."""

    operation: str
    parts: Sequence[bytes | memoryview]


class Envelope:
    """Makes requests to one table in one mode."""

    def __init__(self, mode: Mode, table: str) -> None:
        self.mode = mode
        self.items_max = ITEMS_MAX[mode]
        name = orjson.dumps(table)
        self._head, self._tail = {
            "put": (b'{"RequestItems":{' + name + b":[", b']},"ReturnConsumedCapacity":"INDEXES"}'),
            "insert": (b'{"Statements":[', b'],"ReturnConsumedCapacity":"INDEXES"}'),
            "newer": (b"", b""),
        }[mode]
        self.bytes_max = REQUEST_BYTES_MAX - len(self._head) - len(self._tail)

    @property
    def operation(self) -> str:
        """The call that writes items in this mode."""
        return {"put": "BatchWriteItem", "insert": "BatchExecuteStatement", "newer": "PutItem"}[self.mode]

    def request(self, lot: Lot) -> Request:
        """Wrap the items of a lot."""
        texts = [
            run.load.encoded.text[run.load.offsets[run.start] : run.load.offsets[run.stop]]
            for run in lot.runs
        ]
        texts[-1] = texts[-1][:-1]
        if self.mode != "newer":
            return Request(self.operation, (self._head, *texts, self._tail))
        first = lot.runs[0]
        return Request("DeleteItem" if first.load.encoded.deletes[first.start] else "PutItem", texts)

    def item_json(self, encoded: EncodedBatch, index: int) -> str | None:
        """Return an item as DynamoDB JSON; None for a delete, which has none."""
        if encoded.deletes[index]:
            return None
        request = orjson.loads(encoded.item(index))
        return orjson.dumps(self._attributes(request)).decode()

    def _attributes(self, request: dict[str, Any]) -> Any:
        match self.mode:
            case "put":
                return request["PutRequest"]["Item"]
            case "newer":
                return request["Item"]
            case "insert":
                names = [name.replace("''", "'") for name in STATEMENT_NAME.findall(request["Statement"])]
                return dict(zip(names, request["Parameters"], strict=True))
