"""What a run has cost since this process took it up, over its workers.

Invariant: what a worker had spent when it died stays counted; its memory is another's.
"""

import time
from collections.abc import Callable, Iterable

from engine.batch import Effort
from engine.meter import MeterTotals
from engine.run.handing_out import ConnectedWorker
from engine.run.worker import Usage


class Spending:
    """Adds up figures. `own_usage` tells this process's; units as in Effort."""

    def __init__(self, own_usage: Callable[[], Usage]) -> None:
        self._own_usage = own_usage
        self._own_start = own_usage()
        self._began = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """How long the run has taken."""
        return time.monotonic() - self._began

    def effort(self, workers: Iterable[ConnectedWorker]) -> Effort:
        """Return what all of it has cost."""
        now = self._own_usage()
        usages = [worker.usage for worker in workers]
        totals = totals_of(workers)
        return Effort(
            requests=sum(totals.requests.values()),
            items_unprocessed=totals.items_unprocessed,
            requests_throttled=sum(totals.throttled.values()),
            retries=totals.retries,
            elapsed_s=self.elapsed_s,
            cpu_s=now.cpu_s - self._own_start.cpu_s + sum(used.cpu_s for used in usages),
            peak_rss_bytes=now.peak_rss_bytes + sum(used.peak_rss_bytes for used in usages),
            consumed_wcu=totals.consumed,
            latency=totals.latency,
        )


def totals_of(workers: Iterable[ConnectedWorker]) -> MeterTotals:
    """Return the figures of all workers together."""
    return sum((worker.totals for worker in workers), MeterTotals())
