"""What becomes of a worker that died, and of what it held.

Invariant: what it held goes to others only once nothing that it has sent can be applied any more; where it
can't be read on within this run, the run ends.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from engine.errors import BackfillError, PermanentError
from engine.run.handing_out import ConnectedWorker, HandingOut
from engine.run.link import Finished
from engine.run.segments import Segments
from engine.run.workforce import Workforce

log = logging.getLogger(__name__)


class Burials:
    """Sees to the workers of one run that have died. `fail` hears why the run has to end."""

    def __init__(self, segments: Segments, handing_out: HandingOut, fail: Callable[[Finished], None]) -> None:
        self._segments = segments
        self._handing_out = handing_out
        self._fail = fail
        self.going_on: set[asyncio.Task[None]] = set()

    def begin(self, worker: ConnectedWorker, workforce: Workforce) -> None:
        """See to one whose link has ended, beside all else."""
        self._handing_out.leave(worker)
        worker.usage = replace(worker.usage, peak_rss_bytes=0)
        burial = asyncio.create_task(self._bury(worker, workforce))
        self.going_on.add(burial)
        burial.add_done_callback(self.going_on.discard)

    async def _bury(self, worker: ConnectedWorker, workforce: Workforce) -> None:
        try:
            if not self._segments.can_return(worker.reads):
                raise PermanentError(
                    "a worker process died, and what it was reading has no key to be read on from: run the"
                    " same command to read it again"
                )
            how = await workforce.buried(worker.link)
        except BackfillError as fault:
            self._fail(Finished(fault))
            return
        log.debug("worker %d is gone (%s), and held the segments %s", worker.number, how, worker.reads)
        worker.totals = replace(worker.totals, rate_limit=0.0, requests_in_flight=0)
        self._handing_out.take_back(worker)
