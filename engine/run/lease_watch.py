"""What the coordinator does about the lease: passes renewals on to the workers, and tells the user of an end.

Invariant: workers hear of every end that the runner has heard of; what is lost ends the run.
"""

import logging
from collections.abc import Callable

from engine.errors import PermanentError
from engine.events import Notice
from engine.run.link import Until
from engine.tenure import Tenure

log = logging.getLogger(__name__)

ENDED = (
    "the job's lease has ended, because this process was stopped or the state table couldn't be reached:"
    " nothing is sent until it is renewed"
)
RENEWED = "the lease is renewed, and nobody else had it meanwhile: going on"


class LeaseWatch:
    """Follows a tenure from tick to tick."""

    def __init__(self, tenure: Tenure, send: Callable[[Until], None], tell: Callable[[Notice], None]) -> None:
        self._tenure = tenure
        self._send = send
        self._tell = tell
        self._told_s = tenure.end_s
        self._ended = False

    def look(self) -> PermanentError | None:
        """Tell what is new; return why the run has to end, once the lease is lost."""
        tenure = self._tenure
        if tenure.end_s != self._told_s:
            self._told_s = tenure.end_s
            log.debug("the lease has a new end, of which the workers are told")
            self._send(Until(tenure.end_s, tenure.lost))
        if tenure.lost is not None:
            return PermanentError(tenure.lost)
        if tenure.held == self._ended:
            self._ended = not self._ended
            self._tell(Notice(ENDED, "warning") if self._ended else Notice(RENEWED))
        return None
