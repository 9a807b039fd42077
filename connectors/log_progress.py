"""What of a source's log is durable in the target, and how far behind that is. One for all sources.

Invariant: what isn't durable yet counts as behind, by the source's clock and nobody else's.
"""

import asyncio
import time
from collections import deque
from datetime import datetime

from engine.batch import Cursor
from engine.contracts.feed import LogFigures, LogPlace

PART_ROWS, PART_ROWS_MAX = 1_000, 8_000
"""How many rows are looked up together: each look-up has costs of its own, and what isn't written whole by a
stop is done again, so it is about what the target takes in a second."""
PART_ROWS_BYTES = 8_000_000
"""What more than the fewest may take, by the rows that came before: it is held in memory."""


class LogProgress:
    """What of a log is durable in the target, how fast that grows, and how the server's log stands."""

    def __init__(self) -> None:
        self.part_rows = PART_ROWS
        """How many rows to look up together."""
        self._handed: deque[tuple[int, int, int, float]] = deque()
        """Number, rows, bytes and moment of the batches that aren't durable."""
        self._kept_s = 0.0
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

    def handed(self, number: int, rows: int, nbytes: int) -> None:
        """Hear that the batch of that number is on its way."""
        self._handed.append((number, rows, nbytes, time.monotonic()))

    def kept(self, end: Cursor) -> None:
        """Hear that all up to a batch's end is durable."""
        self.durable = LogPlace.of(end)
        rows = size = 0
        since_s, now_s = self._kept_s, time.monotonic()
        while self._handed and self._handed[0][0] <= self.durable.number:
            _, count, nbytes, handed_s = self._handed.popleft()
            since_s = since_s if rows else max(since_s, handed_s)
            rows, size = rows + count, size + nbytes
        if rows:
            a_second = int(rows / max(1.0, now_s - since_s))
            self.part_rows = max(
                PART_ROWS, min(PART_ROWS_MAX, a_second, PART_ROWS_BYTES * rows // max(1, size))
            )
            self._kept_s = now_s
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
