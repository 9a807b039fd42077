"""A target that takes everything, but for the requests that chance picks: each meets one of the faults."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random

from connectors.dynamodb.http.connection import Answer
from connectors.dynamodb.http.transport import ANSWER_TIMEOUT_S
from tests.support.model_table import Bucket, fault, lost

LATE_S = 3.0


class ChanceTarget:
    """BatchWriteItem only, and its items are counted, not kept.

    `faults`: how often each comes, of 1: throttled, 500, cut (before it was applied), lost (applied, the
    answer cut), silent (no answer), late. `capacity`: write units per second, if it has a limit; a request
    that doesn't fit is rejected as a whole.
    """

    def __init__(
        self,
        faults: Mapping[str, float],
        *,
        latency_s: float = 0.02,
        each_s: float = 0.0,
        capacity: float | None = None,
        seed: int = 1,
    ) -> None:
        self.faults = faults
        self._latency_s, self._each_s, self._free_at = latency_s, each_s, 0.0
        self._random = Random(seed)
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.bucket = None if capacity is None else Bucket(capacity, self._began)
        self.applied: Counter[int] = Counter()
        """Items by second since the beginning."""
        self.asked: Counter[int] = Counter()
        self.throttled: Counter[int] = Counter()
        """Requests by second."""

    def applied_per_s(self, since: int, until: int) -> float:
        return sum(self.applied[second] for second in range(since, until)) / (until - since)

    def throttled_share(self, since: int, until: int) -> float:
        window = range(since, until)
        return sum(self.throttled[second] for second in window) / sum(self.asked[second] for second in window)

    async def send(self, operation: str, parts: Sequence[bytes | memoryview]) -> Answer:
        assert operation == "BatchWriteItem"
        items = b"".join(parts).count(b'"PutRequest"')
        latency_s = self._latency_s * (1.0 + 0.3 * self._random.random())
        if self._each_s:
            self._free_at = max(self._free_at, self._loop.time()) + self._each_s
            latency_s += self._free_at - self._loop.time()
        await asyncio.sleep(latency_s / 2)
        now = self._loop.time()
        second = int(now - self._began)
        self.asked[second] += 1
        kind = self._draw()
        match kind:
            case "silent":
                await asyncio.sleep(ANSWER_TIMEOUT_S)
                raise lost(sent=True)
            case "throttled" | "500" | "cut":
                await asyncio.sleep(latency_s / 2)
                if kind == "cut":
                    raise lost(sent=True)
                if kind == "500":
                    return fault(500, "InternalServerError")
                self.throttled[second] += 1
                return fault(400, "ThrottlingException")
        if self.bucket is not None and not self.bucket.spend(items, now):
            await asyncio.sleep(latency_s / 2)
            self.throttled[second] += 1
            return fault(400, "ProvisionedThroughputExceededException")
        self.applied[second] += items
        await asyncio.sleep(LATE_S if kind == "late" else latency_s / 2)
        if kind == "lost":
            raise lost(sent=True)
        consumed = {"TableName": "t", "CapacityUnits": items, "Table": {"CapacityUnits": items}}
        return Answer(
            200,
            json.dumps({"UnprocessedItems": {}, "ConsumedCapacity": [consumed]}).encode(),
            None,
            latency_s if kind != "late" else LATE_S,
        )

    def _draw(self) -> str | None:
        drawn = self._random.random()
        for kind, share in self.faults.items():
            drawn -= share
            if drawn < 0.0:
                return kind
        return None
