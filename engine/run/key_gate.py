"""Order for writes of equal keys: batches enter as they were read, and wait for whom they share a key with.

Needed only where it isn't proved that item keys differ (see uniqueness.py). Within a batch equal keys have
been coalesced before.

Invariant: of two batches that share a key, the later one is inside only after the earlier one has left.
"""

import asyncio
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class Place:
    """A batch's place in the order in which it was read."""

    known: asyncio.Future[None]
    """Done once this batch's keys are known, and so were all before it."""
    left: asyncio.Future[None]
    before: "Place | None"
    keys: frozenset[int] = field(default_factory=frozenset)


class KeyGate:
    """Lets batches write in the order of their places wherever their keys meet."""

    def __init__(self) -> None:
        self._last: Place | None = None
        self._inside: list[Place] = []

    def reserve(self) -> Place:
        """Take the next place; called in the order in which batches are read."""
        loop = asyncio.get_running_loop()
        place = Place(loop.create_future(), loop.create_future(), self._last)
        self._last = place
        return place

    async def enter(self, place: Place, keys: frozenset[int]) -> None:
        """Wait until every earlier batch that shares one of `keys` (key hashes) has left."""
        if place.before is not None:
            await asyncio.shield(place.before.known)
            place.before = None
        place.keys = keys
        waits_for = [other.left for other in self._inside if not other.keys.isdisjoint(keys)]
        self._inside.append(place)
        place.known.set_result(None)
        for left in waits_for:
            await asyncio.shield(left)

    def leave(self, place: Place) -> None:
        """Give the place back, whether its batch was written or failed."""
        if place in self._inside:
            self._inside.remove(place)
        for future in (place.known, place.left):
            if not future.done():
                future.set_result(None)
        if self._last is place:
            self._last = None
