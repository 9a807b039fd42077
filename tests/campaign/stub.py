"""A target in a process of its own that is wrong in every way, by a seed, and writes down all that it saw.

What a request means is the simulator's work; here it is received, delayed, applied or not, answered badly.
Invariant: faults befall only writes of items by a run (its access key says so), never what tests ask.
"""

import argparse
import asyncio
import gc
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import httptools
import orjson

from bench.simulator.database import Call
from bench.simulator.partiql import insert_item, parse_insert
from bench.simulator.service import Service
from bench.simulator.settings import Model
from tests.campaign import answers
from tests.campaign.faults import BODY_TOO_LARGE, KINDS, Faults, fault_of
from tests.campaign.history import Entry, Write, dump

TABLE = "campaign"
RUNNER = "run"
"""Access keys of runs begin so."""
WRITING = frozenset({"BatchWriteItem", "PutItem", "DeleteItem", "BatchExecuteStatement"})
CREDENTIAL = re.compile(rb"Credential=([^/]+)/")
TOO_LATE_S = 17.0
"""Longer than the engine waits for an answer."""
CONTROL = "/_campaign/"


class Target:
    """The table, the faults, and the history."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.service = Service(model=Model(limited=False))
        self.entries: list[Entry] = []
        self.first_write: float | None = None
        self.connections = 0
        self.applied = 0

    def arrived(self, runner: str, connection: int, operation: str, body: bytes, now: float) -> Entry | None:
        """Note a request if it is a run's and writes items of the table; draw its fate."""
        if operation not in WRITING or not runner.startswith(RUNNER):
            return None
        writes = writes_of(operation, orjson.loads(body))
        if writes is None:
            return None
        if self.first_write is None:
            self.first_write = now
        entry = Entry(len(self.entries) + 1, runner, connection, operation, writes, now)
        entry.fault = fault_of(self.faults, entry.number, now - self.first_write, len(body))
        if entry.fault == BODY_TOO_LARGE and len(writes) == 1:
            entry.fault = None
        self.entries.append(entry)
        return entry

    def perform(self, operation: str, body: bytes, entry: Entry | None) -> tuple[int, bytes]:
        """Apply a request, all of it or, where its fault says so, a part."""
        kind = KINDS.get(entry.fault) if entry is not None and entry.fault is not None else None
        leave = _never
        if entry is not None and kind is not None and kind.applied == "part":
            if entry.operation in ("PutItem", "DeleteItem"):
                entry.answered = None
                return 400, answers.REFUSED["throttling"][1].split(b"\r\n\r\n", 1)[1]
            fates = iter([place % 3 == entry.number % 3 for place in range(len(entry.writes))])
            leave = lambda: next(fates, False)  # noqa: E731
        now = time.monotonic()
        call = Call(now, time.time(), leave)
        status, answer, _ = self.service._perform(operation, body, True, call)
        if entry is not None:
            entry.applied_at = now
            entry.applied = applied_of(entry, status, orjson.loads(answer))
            self.applied += len(entry.applied)
        return status, answer

    def control(self, what: str) -> bytes:
        if what == "history":
            return dump(self.entries)
        last = self.entries[-1].runner if self.entries else None
        outcomes = Counter(entry.fault or "none" for entry in self.entries)
        return orjson.dumps(
            {"applied": self.applied, "requests": len(self.entries), "faults": outcomes, "runner": last}
        )


def writes_of(operation: str, request: Mapping[str, Any]) -> list[Write] | None:
    """Return what a request writes; None where it isn't about the table."""
    match operation:
        case "BatchWriteItem":
            if [*request["RequestItems"]] != [TABLE]:
                return None
            return [
                _write(entry["PutRequest"]["Item"], False)
                if "PutRequest" in entry
                else _write(entry["DeleteRequest"]["Key"], True)
                for entry in request["RequestItems"][TABLE]
            ]
        case "BatchExecuteStatement":
            items = []
            for statement in request["Statements"]:
                name, attributes = parse_insert(statement["Statement"])
                if name != TABLE:
                    return None
                items.append(_write(insert_item(attributes, statement), False))
            return items
        case "PutItem":
            return [_write(request["Item"], False)] if request["TableName"] == TABLE else None
        case _:
            return [_write(request["Key"], True)] if request["TableName"] == TABLE else None


def _write(item: Mapping[str, Any], deletes: bool) -> Write:
    key = f"{item['PK']['S']}|{item['SK']['S']}"
    return Write(key, None if deletes else int(item["id"]["N"]))


def applied_of(entry: Entry, status: int, answer: Mapping[str, Any]) -> list[int]:
    """Return the places of the writes that were applied."""
    if status != 200:
        return []
    match entry.operation:
        case "BatchWriteItem":
            left = {_key(each) for each in (answer.get("UnprocessedItems") or {}).get(TABLE, ())}
            return [place for place, write in enumerate(entry.writes) if write.key not in left]
        case "BatchExecuteStatement":
            return [place for place, each in enumerate(answer["Responses"]) if "Error" not in each]
    return [0]


def _key(entry: Mapping[str, Any]) -> str:
    item = entry["PutRequest"]["Item"] if "PutRequest" in entry else entry["DeleteRequest"]["Key"]
    return f"{item['PK']['S']}|{item['SK']['S']}"


def _never() -> bool:
    return False


class Protocol(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._parser = httptools.HttpRequestParser(self)
        self._loop = asyncio.get_running_loop()
        self._entry: Entry | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._reset()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._target.connections += 1
        self._number = self._target.connections

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        if self._entry is not None and self._entry.ended is None:
            self._entry.ended = time.monotonic()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        lowered = name.lower()
        if lowered == b"x-amz-target":
            self._operation = value.rpartition(b".")[2].decode()
        elif lowered == b"authorization" and (found := CREDENTIAL.search(value)):
            self._runner = found[1].decode()

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        url, operation, runner, body = self._url.decode(), self._operation, self._runner, bytes(self._body)
        self._reset()
        if url.startswith(CONTROL):
            self._transport.write(answers.framed(200, self._target.control(url.removeprefix(CONTROL))))
            return
        now = time.monotonic()
        entry = self._entry = self._target.arrived(runner, self._number, operation, body, now)
        if entry is None:
            status, answer = self._target.perform(operation, body, None)
            self._transport.write(answers.framed(status, answer))
            return
        task = self._loop.create_task(self._serve(entry, operation, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _reset(self) -> None:
        self._url = b""
        self._operation = self._runner = ""
        self._body = bytearray()

    async def _serve(self, entry: Entry, operation: str, body: bytes) -> None:
        """Take a request to its end: wait, apply or not, answer or not."""
        faults = self._target.faults
        await asyncio.sleep(faults.latency_s)
        applied = (
            "yes" if entry.fault is None else KINDS[entry.fault].applied if entry.fault in KINDS else "no"
        )
        status, answer = 200, b"{}"
        if applied in ("yes", "part"):
            status, answer = self._target.perform(operation, body, entry)
        elif applied == "late":
            delay_s = faults.late_apply_s * ((entry.number * 7) % 10 + 1) / 10
            self._loop.call_later(delay_s, self._target.perform, operation, body, entry)
        out = answers.sent(entry.fault, status, answer, TOO_LATE_S)
        for number, piece in enumerate(out.pieces):
            if out.pause_s and (number or len(out.pieces) == 1):
                await asyncio.sleep(out.pause_s)
            if self._transport.is_closing():
                break
            if piece:
                self._transport.write(piece)
            if piece and piece is [each for each in out.pieces if each][-1] and entry.answered is None:
                entry.answered, entry.status = time.monotonic(), out.status
        match out.ending:
            case "reset":
                sock = self._transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._transport.abort()
            case "close":
                self._transport.close()
            case _:
                pass
        if out.ending in ("reset", "close"):
            entry.ended = time.monotonic()


async def serve(host: str, port: int, faults: Faults) -> None:
    """Serve until the process is ended."""
    target = Target(faults)
    server = await asyncio.get_running_loop().create_server(
        lambda: Protocol(target), host, port, backlog=1024
    )
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.stub")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--faults", default="{}", help="fields of Faults as JSON")
    chosen = parser.parse_args()
    given = orjson.loads(chosen.faults)
    given["ending_at"] = {int(number): name for number, name in given.get("ending_at", {}).items()}
    gc.disable()  # looking through a long history holds writes up for half a second, to be applied at once
    asyncio.run(serve(chosen.host, chosen.port, Faults(**given)))


if __name__ == "__main__":
    main()
