"""Live figures of one process: plain counters that the hot path adds to, and differences to send on.

Invariant: counters only grow; gauges say how it is now. One writer, the event loop (stage times are added
there too, from what the threads return). Durable counts are the ledger's, not these.
"""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

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
    consumed: Counter[str] = field(default_factory=Counter)
    stage_s: Counter[str] = field(default_factory=Counter)
    latency: Counter[int] = field(default_factory=Counter)
    latency_sum_s: float = 0.0
    requests_in_flight: int = 0
    rate_limit: float = float("inf")

    def answered(self, outcome: str, seconds: float) -> None:
        """Count one request that got an answer."""
        self.requests[outcome] += 1
        self.latency[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1
        self.latency_sum_s += seconds
