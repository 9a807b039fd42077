"""Looks at the target from time to time: what is acked counts only while it is still the same.

Invariant: what was acked behind the last good look isn't made durable once a look has found another target;
and nothing is called complete before one last look, after the last ack, was answered.
"""

import asyncio
import time
from contextlib import suppress

from engine.contracts.target import Look
from engine.errors import PermanentError

EVERY_S = 3.0
"""How often at least is looked while no checkpoint asks for it."""

PAUSE_S = 0.5


class TargetWatch:
    """Follows one run's target. `patience_s`: how long the last look is waited for."""

    def __init__(self, look: Look | None, patience_s: float) -> None:
        self._look = look
        self._patience_s = patience_s
        self._looked_at = time.monotonic()
        self.moved: PermanentError | None = None
        """Why nothing counts any more."""
        self.confirmed = look is None
        """Whether the last look of all was answered, and the target was the same."""

    @property
    def due(self) -> bool:
        """Whether the last look is long ago."""
        return self._look is not None and time.monotonic() - self._looked_at >= EVERY_S

    async def same(self, within_s: float | None = None) -> bool:
        """Look. False once it is known that the target is another one; no answer doesn't mean that.

        Units: `within_s` how long an answer is waited for; None: as long as the target does itself.
        """
        if self._look is not None and self.moved is None:
            self._looked_at = time.monotonic()
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(within_s):
                        await self._look()
            except PermanentError as moved:
                self.moved = moved
        return self.moved is None

    async def confirm(self, stop: asyncio.Event) -> PermanentError | None:
        """Look once more, until there is an answer or a stop; return why the run can't be called complete."""
        if self._look is None:
            return None
        began = time.monotonic()
        while self.moved is None:
            try:
                if (unknown := await self._look()) is None:
                    self.confirmed = True
                    return None
            except PermanentError as moved:
                self.moved = moved
                break
            if unknown.startswith("AccessDenied") or time.monotonic() - began >= self._patience_s:
                return PermanentError(
                    f"all is written, but whether the table is still the same can't be told ({unknown}):"
                    " allow dynamodb:DescribeTable, or wait until it answers, and run again"
                )
            if stop.is_set():
                return None
            await asyncio.sleep(PAUSE_S)
        return self.moved
