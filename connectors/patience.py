"""How long a source that is away is tried again, and how often.

Invariant: only tries in vain use the patience up; whatever is read gives all of it back.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from engine.errors import RetriesExhausted, TransientError

PATIENCE_S = 300.0
"""How long a server that is away is waited for before the run stops, resumable."""
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.1, 15.0


Answer = TypeVar("Answer")


class Patience:
    """The patience of one reading. Units: `patience_s` seconds from the first failure on."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._attempts = 0
        self._deadline: float | None = None

    def rewarded(self) -> None:
        """Note that something was read."""
        self._attempts, self._deadline = 0, None

    async def wait(self, error: TransientError) -> None:
        """Wait before the next try, longer each time. Raises: RetriesExhausted when it has been too long."""
        now = asyncio.get_running_loop().time()
        if self._deadline is None:
            self._deadline = now + self._patience_s
        pause = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2**self._attempts) * random.uniform(0.5, 1)  # noqa: S311
        if now + pause > self._deadline:
            raise RetriesExhausted(
                f"{error}; gave up after {self._patience_s:.0f} s, run again to resume"
            ) from error
        self._attempts += 1
        await asyncio.sleep(pause)


async def patiently(
    attempt: Callable[[], Awaitable[Answer]], patience: Patience, passing: type[TransientError]
) -> Answer:
    """Try until it succeeds, or fails otherwise than `passing`. Raises: RetriesExhausted, and those."""
    while True:
        try:
            return await attempt()
        except passing as error:
            await patience.wait(error)
