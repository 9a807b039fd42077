"""A DynamoDB that accepts everything and keeps nothing: it answers 200 and counts.

A real HTTP server, so that a client's whole cost is there to be measured, and cheaper than any client.
`GET /counts` tells how many requests, items and bytes came.
"""

import argparse
import asyncio
import json
from typing import Final, cast

import uvloop

_OPERATION: Final = b"x-amz-target: "
_LENGTH: Final = b"content-length: "
_BATCH_ANSWER: Final = b'{"UnprocessedItems":{}}'


def _http(body: bytes) -> bytes:
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
        b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n"
    )
    return head + body


class Counts:
    """What came in since the start."""

    requests = 0
    body_bytes = 0
    items = 0


def table_description(name: str) -> dict[str, object]:
    """Describe a table of any name whose keys are PK and SK."""
    return {
        "TableName": name,
        "TableArn": f"arn:aws:dynamodb:us-east-1:000000000000:table/{name}",
        "TableStatus": "ACTIVE",
        "CreationDateTime": 1700000000.0,
        "KeySchema": [
            {"AttributeName": "PK", "KeyType": "HASH"},
            {"AttributeName": "SK", "KeyType": "RANGE"},
        ],
        "AttributeDefinitions": [
            {"AttributeName": "PK", "AttributeType": "S"},
            {"AttributeName": "SK", "AttributeType": "S"},
        ],
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        "ItemCount": 0,
        "TableSizeBytes": 0,
    }


class NullProtocol(asyncio.Protocol):
    """One connection: parses each request's head, skips its body, answers."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._pending = bytearray()
        self._body_left = 0
        self._head = b""
        self._body = bytearray()
        self._keep_body = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Count what came; answer when a request is whole."""
        while data:
            if self._body_left:
                part = data[: self._body_left]
                self._take_body(part)
                data = data[len(part) :]
                continue
            self._pending += data
            end = self._pending.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._pending[:end])
            data = bytes(self._pending[end + 4 :])
            self._pending.clear()
            self._begin(head)

    def _begin(self, head: bytes) -> None:
        lowered = head.lower()
        at = lowered.find(_LENGTH)
        self._body_left = int(lowered[at + len(_LENGTH) :].split(b"\r", 1)[0]) if at >= 0 else 0
        self._head = lowered
        self._keep_body = b"batchwriteitem" not in lowered
        self._body.clear()
        if not self._body_left:
            self._answer()

    def _take_body(self, part: bytes) -> None:
        self._body_left -= len(part)
        self._counts.body_bytes += len(part)
        self._counts.items += part.count(b'{"PutRequest"')
        if self._keep_body:
            self._body += part
        if not self._body_left:
            self._answer()

    def _answer(self) -> None:
        if self._head.startswith(b"get /counts"):
            counts = self._counts
            figures = {"requests": counts.requests, "items": counts.items, "bytes": counts.body_bytes}
            self._transport.write(_http(json.dumps(figures).encode()))
            return
        self._counts.requests += 1
        if not self._keep_body:
            self._transport.write(_http(_BATCH_ANSWER))
            return
        at = self._head.find(_OPERATION)
        operation = self._head[at + len(_OPERATION) :].split(b"\r", 1)[0].rpartition(b".")[2]
        answer: dict[str, object] = {}
        if operation == b"describetable":
            answer = {"Table": table_description(json.loads(bytes(self._body))["TableName"])}
        self._transport.write(_http(json.dumps(answer).encode()))


async def serve(port: int) -> None:
    """Serve on 127.0.0.1 until cancelled."""
    counts = Counts()
    server = await asyncio.get_running_loop().create_server(lambda: NullProtocol(counts), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Read the port from the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
