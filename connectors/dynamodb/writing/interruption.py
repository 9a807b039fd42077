"""What holds everything up for a while: credentials that are renewed, a lease that isn't known to go on.

Invariant: one thing at a time; nothing is sent meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from engine.errors import PermanentError
from engine.retry import RetryPolicy
from engine.tasks import ended
from engine.tenure import Tenure

RENEWALS = RetryPolicy(1.0, 10.0)
LEASE_LOOK_S = 0.1
"""How often is looked whether a lease that has ended goes on."""

RENEWALS_MAX = 5
"""So often in a row may the target call the credentials expired before that is final."""


class Interruption:
    """Waits for what must be there before anything is sent. `on_over` is called when it is, or never will."""

    def __init__(
        self,
        renew: Callable[[], Awaitable[object]],
        tenure: Tenure,
        random: Random,
        on_over: Callable[[Exception | None], None],
    ) -> None:
        self._renew = renew
        self._tenure = tenure
        self._random = random
        self._on_over = on_over
        self.task: asyncio.Task[None] | None = None
        """What is waited for: nothing is sent meanwhile."""
        self.renewals = 0
        self.vain_renewals = 0
        """How many in a row no answer has confirmed."""

    def expired(self, detail: str, renewals: int) -> None:
        """Ask for fresh credentials, once for all requests that the old ones failed.

        `renewals` is how many there had been when the request was sent. Raises: PermanentError.
        """
        if renewals != self.renewals or self.task is not None:
            return
        self.renewals += 1
        self.vain_renewals += 1
        if self.vain_renewals > RENEWALS_MAX:
            raise PermanentError(
                f"the target goes on calling the credentials expired ({detail}): "
                "look at this machine's clock and at target.profile, then run again"
            )
        self._begin(self._renew_credentials(self.vain_renewals))

    def await_lease(self) -> None:
        """Hold everything until the lease goes on, or is known to be lost."""
        if self.task is None:
            self._begin(self._lease_goes_on())

    async def close(self) -> None:
        """Wait for nothing any more."""
        await ended(self.task)

    def _begin(self, waited_for: Awaitable[None]) -> None:
        self.task = asyncio.get_running_loop().create_task(self._wait(waited_for))

    async def _wait(self, waited_for: Awaitable[None]) -> None:
        fault: Exception | None = None
        try:
            await waited_for
        except Exception as error:  # told to everyone who waits in write()
            fault = error
        finally:
            self.task = None
        self._on_over(fault)

    async def _renew_credentials(self, attempt: int) -> None:
        if attempt > 1:
            await asyncio.sleep(RENEWALS.pause_s(attempt, self._random))
        await self._renew()

    async def _lease_goes_on(self) -> None:
        while not self._tenure.held and self._tenure.lost is None:  # noqa: ASYNC110 - a clock's doing
            await asyncio.sleep(LEASE_LOOK_S)
        if self._tenure.lost is not None:
            raise PermanentError(self._tenure.lost)
