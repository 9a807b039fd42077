"""Order for writes of equal keys: batches enter as they were read, and wait for whom they share a key with.

Needed only where it isn't proved that item keys differ (see uniqueness.py). Within a batch equal keys have
been coalesced before.

Invariant: of two batches that share a key, the later one is inside only after the earlier one has left.
"""

import asyncio
from dataclasses import field

from engine.frozen import dataclass


@dataclass(eq=False, slots=True)
class KeyHold:
    """A batch's hold on its keys, in the order in which batches were read."""

    known: asyncio.Future[None]
    """Done once this batch's keys are known, and so were all before it."""
    left: asyncio.Future[None]
    before: "KeyHold | None"
    keys: frozenset[int] = field(default_factory=frozenset)


class KeyGate:
    """Lets batches write in the order of their holds wherever their keys meet."""

    def __init__(self) -> None:
        self._last: KeyHold | None = None
        self._inside: list[KeyHold] = []

    def reserve(self) -> KeyHold:
        """Take the next hold; called in the order in which batches are read."""
        loop = asyncio.get_running_loop()
        hold = KeyHold(loop.create_future(), loop.create_future(), self._last)
        self._last = hold
        return hold

    async def enter(self, hold: KeyHold, keys: frozenset[int]) -> None:
        """Wait until every earlier batch that shares one of `keys` (key hashes) has left."""
        if hold.before is not None:
            # Whom to wait for can be told only once the keys of every batch before this one are known.
            await asyncio.shield(hold.before.known)
            hold.before = None
        hold.keys = keys
        # Until `known` is set nothing is awaited, so the next in order finds this batch among those inside.
        waits_for = [other.left for other in self._inside if not other.keys.isdisjoint(keys)]
        self._inside.append(hold)
        hold.known.set_result(None)
        for left in waits_for:
            await asyncio.shield(left)

    def leave(self, hold: KeyHold) -> None:
        """Give the hold back, whether its batch was written or failed."""
        if hold in self._inside:
            self._inside.remove(hold)
        # One that fails before its keys are known ends the reading; nobody must hang on it meanwhile.
        for future in (hold.known, hold.left):
            if not future.done():
                future.set_result(None)
        if self._last is hold:
            self._last = None
