"""A table in memory that takes requests as DynamoDB does, with capacity, hot partitions and faults."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from random import Random
from zlib import crc32

from connectors.dynamodb.http.connection import Answer, TransportError
from tests.support.encoded import key_of


def fault(status: int, code: str, message: str = "", **more) -> Answer:
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message, **more}
    return Answer(status, json.dumps(body).encode(), None, 0.005)


class Bucket:
    """Capacity with a burst of `burst_s` seconds of it."""

    def __init__(self, rate: float, now: float, burst_s: float = 1.0) -> None:
        self.rate, self.burst_s, self.tokens, self.at = rate, burst_s, rate * burst_s, now

    def spend(self, units: float, now: float) -> bool:
        self.tokens = min(self.rate * self.burst_s, self.tokens + self.rate * (now - self.at))
        self.at = now
        if self.tokens < units:
            return False
        self.tokens -= units
        return True


class ModelTable:
    """BatchWriteItem only. `before` may answer or raise instead of the table, `after` replace its answer.

    `partition_rate` holds for every partition key, or with `partition_count` for so many partitions.
    """

    def __init__(
        self,
        latency_s: float = 0.005,
        rate: float | None = None,
        partition_rate: float | None = None,
        partition_count: int | None = None,
    ):
        loop = asyncio.get_running_loop()
        self.now: Callable[[], float] = loop.time
        self.latency_s = latency_s
        self.bucket = None if rate is None else Bucket(rate, self.now())
        self.partition_rate = partition_rate
        self.partition_count = partition_count
        self.partitions: dict[str | int, Bucket] = {}
        self.items: dict[tuple[str, str], dict | None] = {}
        self.writes: dict[tuple[str, str], int] = defaultdict(int)
        self.in_flight: set[tuple[str, str]] = set()
        self.accepted: list[tuple[float, int]] = []
        """(when, units)"""
        self.requests = self.throttled = 0
        self.sizes: list[int] = []
        self.before: Callable[[list[dict]], Answer | None] = lambda entries: None
        self.before_body: Callable[[dict], Answer | None] = lambda body: None
        self.after: Callable[[list[dict]], Answer | None] = lambda entries: None
        self.random = Random(1)

    def partition_of(self, key: str) -> str | int:
        return key if self.partition_count is None else crc32(key.encode()) % self.partition_count

    def units_between(self, since: float, until: float) -> int:
        return sum(units for at, units in self.accepted if since <= at < until)

    async def send(self, operation: str, parts: Sequence[bytes | memoryview]) -> Answer:
        assert operation == "BatchWriteItem"
        body = json.loads(b"".join(parts))
        (entries,) = body["RequestItems"].values()
        keys = {key_of(entry) for entry in entries}
        assert len(keys) == len(entries) <= 25, "one key twice in a request, or too many items"
        assert not keys & self.in_flight, "two writes of one key in flight"
        self.in_flight |= keys
        try:
            await asyncio.sleep(self.latency_s / 2)
            self.requests += 1
            self.sizes.append(len(entries))
            answer = self.before_body(body) or self.before(entries) or self._apply(entries)
            answer = self.after(entries) or answer
            await asyncio.sleep(self.latency_s / 2)
            return answer
        finally:
            self.in_flight -= keys

    def _apply(self, entries: list[dict]) -> Answer:
        unprocessed = [entry for entry in entries if not self._take(entry)]
        if unprocessed:
            self.throttled += 1
        if len(unprocessed) == len(entries):
            return fault(400, "ProvisionedThroughputExceededException", "slow down")
        self.accepted.append((self.now(), len(entries) - len(unprocessed)))
        body = {
            "UnprocessedItems": {"t": unprocessed} if unprocessed else {},
            "ConsumedCapacity": [
                {
                    "TableName": "t",
                    "CapacityUnits": 3.0,
                    "Table": {"CapacityUnits": float(len(entries) - len(unprocessed))},
                }
            ],
        }
        return Answer(200, json.dumps(body).encode(), None, self.latency_s)

    def _take(self, entry: dict) -> bool:
        now, key = self.now(), key_of(entry)
        if self.partition_rate is not None:
            place = self.partition_of(key[0])
            partition = self.partitions.setdefault(place, Bucket(self.partition_rate, now, 0.5))
            if not partition.spend(1, now):
                return False
        if self.bucket is not None and not self.bucket.spend(1, now):
            return False
        self.items[key] = entry.get("PutRequest", {}).get("Item")
        self.writes[key] += 1
        return True


def lost(sent: bool) -> TransportError:
    return TransportError("the connection was cut", sent=sent)
