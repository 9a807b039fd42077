"""What of a source's log is durable in the target, and how far behind that is. One for all sources.

Invariant: what isn't durable yet counts as behind, by the source's clock and nobody else's.
"""

import asyncio
import time
from datetime import datetime

from engine.batch import Cursor
from engine.contracts.feed import LogFigures, LogPlace


class LogProgress:
    """What of a log is durable in the target, and how the server's log stands."""

    def __init__(self) -> None:
        self.durable = LogPlace("0/0")
        self._heard = asyncio.Event()
        self._covered_s = 0.0
        """All that was committed before is durable. Units: seconds since 1970, by the server."""
        self._ahead_s: float | None = None
        """How far the server's clock is ahead of the monotonic one here."""
        self.held_back_bytes: int | None = None

    @property
    def figures(self) -> LogFigures:
        """How far behind the target is, and what the server keeps."""
        lag_s = None
        if (now_s := self.clock_s) is not None and self._covered_s:
            lag_s = max(0.0, now_s - self._covered_s)
        return LogFigures(lag_s, self.held_back_bytes)

    @property
    def clock_s(self) -> float | None:
        """What the source's clock says now, by what was last heard of it; None: nothing yet."""
        return None if self._ahead_s is None else time.monotonic() + self._ahead_s

    def kept(self, end: Cursor) -> None:
        """Hear that all up to a batch's end is durable."""
        self.durable = LogPlace.of(end)
        if self.durable.at is not None:
            self.covered(datetime.fromisoformat(self.durable.at).timestamp())
        self._heard.set()

    def covered(self, at_s: float) -> None:
        """Hear that all that was committed before is durable."""
        self._covered_s = max(self._covered_s, at_s)

    def clock_is(self, at_s: float) -> None:
        """Hear what the source's clock says now."""
        self._ahead_s = at_s - time.monotonic()

    async def up_to(self, number: int) -> None:
        """Wait until the batch of that number is durable."""
        while self.durable.number < number:
            self._heard.clear()
            await self._heard.wait()
