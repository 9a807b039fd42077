"""How what failed in passing is tried again: one loop; how often and how long is said by named policies.

Invariant: only tries in vain use the patience up; whatever succeeds gives all of it back.
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random, SystemRandom
from typing import TypeVar

from engine.absence import Absence
from engine.errors import RetriesExhausted, TransientError
from engine.frozen import dataclass

NEVER = float("inf")

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait before each repetition, and when to give up.

    Units: seconds; `give_up_after_s` from the first failure on. `farewell`: what is said at the end, of the
    last `error` and that time.
    """

    base_s: float
    cap_s: float
    give_up_after_s: float = NEVER
    farewell: str = "{error}"

    def pause_s(self, attempt: int, random: Random) -> float:
        """Return a random pause before repetition `attempt` (from 1); its range triples with every attempt.

        Source: AWS Architecture Blog, Exponential Backoff and Jitter.
        """
        longest_s = min(self.cap_s, self.base_s * 3.0 ** min(attempt, 30))
        return random.uniform(self.base_s, max(self.base_s, longest_s))


class Patience:
    """How far the patience with one thing has gone; `absence` tells where it is away for long."""

    def __init__(
        self, policy: RetryPolicy, random: Random | None = None, absence: Absence | None = None
    ) -> None:
        self._policy = policy
        self._random = random or SystemRandom()
        self._absence = absence
        self._attempts = 0
        self._since = -NEVER

    def rewarded(self) -> None:
        """Note a success."""
        self._attempts = 0
        if self._absence is not None:
            self._absence.succeeded(self)

    async def wait(self, error: TransientError) -> None:
        """Wait before the next try, longer each time. Raises: RetriesExhausted when it has been too long."""
        now = asyncio.get_running_loop().time()
        give_up_after_s = self._policy.give_up_after_s
        if not self._attempts:
            self._since = now
        self._attempts += 1
        pause_s = self._policy.pause_s(self._attempts, self._random)
        if now + pause_s > self._since + give_up_after_s:
            farewell = self._policy.farewell.format(error=error, give_up_after_s=give_up_after_s)
            raise RetriesExhausted(farewell) from error
        if self._absence is not None:
            self._absence.failed(self, error, now - self._since)
        await asyncio.sleep(pause_s)


async def patiently(
    attempt: Callable[[], Awaitable[_Answer]], patience: Patience, passing: type[TransientError]
) -> _Answer:
    """Try until it succeeds, or fails otherwise than `passing`. Raises: RetriesExhausted, and those."""
    while True:
        try:
            answer = await attempt()
        except passing as error:
            await patience.wait(error)
        else:
            patience.rewarded()
            return answer
