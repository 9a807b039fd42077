"""Live figures of one process: plain counters that the hot path adds to, and differences to send on.

Invariant: counters only grow; gauges say how it is now. One writer, the event loop (stage times are added
there too, from what the threads return). Durable counts are the ledger's, not these.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import field

from engine.figures import Additive, taken
from engine.frozen import dataclass

LATENCY_BOUNDS_S = tuple(round(0.0005 * 1.25**step, 7) for step in range(56))
"""Upper bounds of the latency buckets, 0.5 ms to about 107 s, 25 % apart; one more bucket is open."""

TABLE = ""
"""The name under which the table's own write units are counted, beside its indexes'."""

STAGES = ("read", "transform", "encode", "write")


@dataclass(slots=True)
class Meter:
    """What one process has done and is doing.

    Units: `stage_s` seconds by stage (wall time inside the stage); `consumed` write units by index;
    `rate_limit` write units per second, infinite when nothing limits.
    """

    rows_read: int = 0
    items_written: int = 0
    items_deleted: int = 0
    items_skipped: int = 0
    items_coalesced: int = 0
    items_unprocessed: int = 0
    retries: int = 0
    dead_lettered: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    """By outcome: ok, partial, throttled, refused, error."""
    throttled: Counter[str] = field(default_factory=Counter)
    """By cause: table, index, partition, account, unknown."""
    consumed: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    stage_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    latency: Counter[int] = field(default_factory=Counter)
    latency_sum_s: float = 0.0
    requests_in_flight: int = 0
    hot_keys: int = 0
    """Partition keys that have a lane of their own."""
    rate_limit: float = float("inf")

    def answered(self, outcome: str, seconds: float) -> None:
        """Count one request that got an answer."""
        self.requests[outcome] += 1
        self.latency[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1
        self.latency_sum_s += seconds

    def snapshot(self) -> "MeterTotals":
        """Return the figures as they are now, fit to be sent to another process."""
        return taken(MeterTotals, self)


@dataclass(frozen=True, slots=True)
class MeterTotals(Additive):
    """A Meter at one moment, or several of them added up.

    `MeterTotals()` is the neutral element: nobody counted, nobody may send. Gauges add up over processes;
    so do rate limits, and one process without a limit makes the sum limitless.
    Units: as in Meter.
    """

    rows_read: int = 0
    items_written: int = 0
    items_deleted: int = 0
    items_skipped: int = 0
    items_coalesced: int = 0
    items_unprocessed: int = 0
    retries: int = 0
    dead_lettered: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    throttled: Mapping[str, int] = field(default_factory=dict)
    consumed: Mapping[str, float] = field(default_factory=dict)
    stage_s: Mapping[str, float] = field(default_factory=dict)
    latency: Mapping[int, int] = field(default_factory=dict)
    latency_sum_s: float = 0.0
    requests_in_flight: int = 0
    hot_keys: int = 0
    rate_limit: float = 0.0


def quantile(latency: Mapping[int, int], q: float) -> float | None:
    """Estimate the latency below which the share `q` of the requests stayed; None without requests.

    Units: `latency` bucket index → requests (see LATENCY_BOUNDS_S), the answer in seconds. Even within a
    bucket; whatever lies above the last bound counts as that bound.
    """
    rank = q * sum(latency.values())
    below = 0
    for bucket in sorted(latency):
        count = latency[bucket]
        if count and below + count >= rank:
            if bucket >= len(LATENCY_BOUNDS_S):
                return LATENCY_BOUNDS_S[-1]
            floor = LATENCY_BOUNDS_S[bucket - 1] if bucket else 0.0
            return floor + (LATENCY_BOUNDS_S[bucket] - floor) * max(0.0, rank - below) / count
        below += count
    return None
