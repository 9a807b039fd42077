"""How many bytes of dead letters may wait for their checkpoint: the bound for a slow store and a bad source.

Invariant: what is held is never more than the window and what the batches in flight add to it. Only reading
waits, never a batch that is in flight: its ack may be what others' letters wait for.
"""

import asyncio
import math
from collections.abc import Iterable

from engine.batch import DeadLetter

LETTERS_WINDOW_BYTES = 8 * 2**20
"""Dead letters of one worker that no checkpoint has kept yet: as much as its window of rows. About 10,000
letters of small items; a source so bad that it fills this in a second is checkpointed more often."""


class LetterWindow:
    """Bounds the bytes of dead letters between being found and being kept.

    Without `bytes_max` it bounds nothing: for a line whose letters nobody keeps.
    """

    def __init__(self, bytes_max: float = math.inf) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()

    @property
    def full(self) -> bool:
        """Whether reading has to wait. One letter larger than the window makes it full, and still goes on."""
        return self._bytes >= self._bytes_max

    async def room(self) -> None:
        """Wait until something more may be read."""
        await self._room.wait()

    def hold(self, letters: Iterable[DeadLetter]) -> None:
        """Count letters in that were found."""
        self._bytes += weight(letters)
        if self.full:
            self._room.clear()

    def give_back(self, nbytes: int) -> None:
        """Count letters out that a checkpoint has kept."""
        self._bytes -= nbytes
        assert self._bytes >= 0, "more dead letters were kept than found"
        if not self.full:
            self._room.set()


def weight(letters: Iterable[DeadLetter]) -> int:
    """Return what letters hold in memory, in bytes: the same figure in every process."""
    return sum(letter.nbytes for letter in letters)
