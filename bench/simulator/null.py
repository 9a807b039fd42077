"""The null mode: a DynamoDB that accepts everything, keeps nothing, and counts.

A real HTTP server, so that a client's whole cost is there to be measured, and cheaper than any client.
`GET /counts` tells how many requests, items and bytes came. Any table is there, with the keys PK and SK
or those that CreateTable asked for.
"""

import asyncio
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, cast

import orjson

_OPERATION: Final = b"x-amz-target: "
_LENGTH: Final = b"content-length: "


def http_answer(body: bytes) -> bytes:
    """Frame an answer's body."""
    # Amazon's SDK for Go complains of each answer that has no checksum, and closes its connection.
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nx-amz-crc32: %d\r\n"
        b"Content-Length: %d\r\n\r\n"
    )
    return head % (zlib.crc32(body), len(body)) + body


_BATCH_ANSWER: Final = http_answer(b'{"UnprocessedItems":{}}')
_EMPTY_ANSWER: Final = http_answer(b"{}")


class NullCounts:
    """What came in since the start."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests = 0
        self.body_bytes = 0
        self.items = 0
        self.asked: Counter[str] = Counter()
        """Operations that are about tables, as they are sent but in lower case."""
        self.created: dict[str, dict[str, Any]] = {}
        """What CreateTable asked for, by the table's name."""

    def as_json(self) -> bytes:
        """Return the answer to `GET /counts`."""
        return orjson.dumps(
            {
                "connections": self.connections,
                "requests": self.requests,
                "items": self.items,
                "bytes": self.body_bytes,
                "asked": dict(self.asked),
            }
        )


def table_description(name: str, asked: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """Describe a table of any name, whose keys are PK and SK if nobody asked for others."""
    indexes = [{**index, "IndexStatus": "ACTIVE"} for index in asked.get("GlobalSecondaryIndexes", ())]
    told = {name: asked[name] for name in ("KeySchema", "AttributeDefinitions") if name in asked}
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
        **told,
        **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
    }


class NullProtocol(asyncio.Protocol):
    """One connection: finds each request's end, counts its items, answers."""

    def __init__(self, counts: NullCounts) -> None:
        self._counts = counts
        self._pending = bytearray()
        self._wanted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._transport = cast("asyncio.Transport", transport)
        self._counts.connections += 1

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole now."""
        if self._pending:
            self._pending += data
            if len(self._pending) < self._wanted:
                return
            data = bytes(self._pending)
            self._pending.clear()
        while data:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._keep(data, 0)
                return
            head = data[:end].lower()
            length = int(_header(head, _LENGTH) or 0)
            stop = end + 4 + length
            if len(data) < stop:
                self._keep(data, stop)
                return
            self._transport.write(self._answer(head, data[end + 4 : stop]))
            data = data[stop:]

    def _keep(self, data: bytes, wanted: int) -> None:
        self._pending += data
        self._wanted = wanted

    def _answer(self, head: bytes, body: bytes) -> bytes:
        counts = self._counts
        if head.startswith(b"get /counts"):
            return http_answer(counts.as_json())
        counts.requests += 1
        counts.body_bytes += len(body)
        match operation := _header(head, _OPERATION).rpartition(b".")[2]:
            case b"batchwriteitem":
                # In a string these quotes would be escaped, so only the requests' own names are found.
                counts.items += body.count(b'"PutRequest"') + body.count(b'"DeleteRequest"')
                return _BATCH_ANSWER
            case b"putitem" | b"deleteitem":
                counts.items += 1
                return _EMPTY_ANSWER
            case b"batchexecutestatement":
                statements = body.count(b'"Statement"')
                counts.items += statements
                return http_answer(b'{"Responses":[' + b",".join([b"{}"] * statements) + b"]}")
            case b"describetable":
                counts.asked["describetable"] += 1
                name = orjson.loads(body)["TableName"]
                return http_answer(
                    orjson.dumps({"Table": table_description(name, counts.created.get(name, {}))})
                )
            case b"createtable":
                asked = orjson.loads(body)
                counts.created[asked["TableName"]] = asked
                described = table_description(asked["TableName"], asked)
                return http_answer(orjson.dumps({"TableDescription": described}))
            case _:
                counts.asked[operation.decode()] += 1
                return _EMPTY_ANSWER


async def serve(port: int, ready: Callable[[], None] = lambda: None) -> None:
    """Serve on 127.0.0.1 until cancelled."""
    counts = NullCounts()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: NullProtocol(counts), "127.0.0.1", port, backlog=1024)
    ready()
    async with server:
        await server.serve_forever()


def _header(head: bytes, name: bytes) -> bytes:
    at = head.find(name)
    return head[at + len(name) :].split(b"\r", 1)[0] if at >= 0 else b""
