"""The text of a request around the items of a lot, and the item out of its text. Pure.

Invariant: items are never parsed or copied on their way into a request; only a dead letter's is.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from connectors.dynamodb.limits import BATCH_ITEMS_MAX, CAPACITY_WANTED, REQUEST_BYTES_MAX, STATEMENTS_MAX
from connectors.dynamodb.section import Mode
from connectors.dynamodb.writing.loads import Lot
from engine.batch import EncodedBatch

ITEMS_MAX: Mapping[Mode, int] = {"put": BATCH_ITEMS_MAX, "insert": STATEMENTS_MAX, "newer": 1}

CAPACITY_ASKED = (CAPACITY_WANTED, b',"ReturnConsumedCapacity":"TOTAL"', b"")
"""What requests ask about capacity, best first: some servers know no INDEXES, others none of it.
Source: scylladb/scylladb#29138."""

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
        self._head = {
            "put": b'{"RequestItems":{' + orjson.dumps(table) + b":[",
            "insert": b'{"Statements":[',
            "newer": b"",
        }[mode]
        self.asked = 0
        """Index in CAPACITY_ASKED of what requests ask about capacity now."""
        self._tail = self._tail_now()
        self.bytes_max = REQUEST_BYTES_MAX - len(self._head) - len(self._tail)

    @property
    def operation(self) -> str:
        """The call that writes items in this mode."""
        return {"put": "BatchWriteItem", "insert": "BatchExecuteStatement", "newer": "PutItem"}[self.mode]

    @property
    def counted(self) -> bool:
        """Whether requests ask the server what they cost at all."""
        return CAPACITY_ASKED[self.asked] != b""

    def ask_less(self) -> None:
        """Ask less about capacity from now on."""
        assert self.counted, "there is nothing less to ask"
        self.asked += 1
        self._tail = self._tail_now()

    def request(self, lot: Lot) -> Request:
        """Wrap the items of a lot."""
        texts = [
            run.load.encoded.text[run.load.offsets[run.start] : run.load.offsets[run.stop]]
            for run in lot.runs
        ]
        lot.asked = self.asked
        if self.mode != "newer":
            texts[-1] = texts[-1][:-1]
            return Request(self.operation, (self._head, *texts, self._tail))
        first = lot.runs[0]
        operation = "DeleteItem" if first.load.encoded.deletes[first.start] else "PutItem"
        if not self.asked:
            return Request(operation, (texts[0][:-1],))
        # The item's text asks by itself, at its end: `…,"ReturnConsumedCapacity":"INDEXES"},`.
        return Request(operation, (texts[0][: -len(CAPACITY_WANTED) - 2], self._tail))

    def _tail_now(self) -> bytes:
        closing = {"put": b"]}", "insert": b"]", "newer": b""}[self.mode]
        return closing + CAPACITY_ASKED[self.asked] + b"}"

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
