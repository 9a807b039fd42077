"""Holds every reading to the collection and the server that the run began with.

Invariant: a reading that passed both looks, before and after, was of that collection, and on a server
that had its data.
"""

from typing import Any

from connectors.mongodb.errors import speaking
from connectors.mongodb.pin import MovedError, Pin
from connectors.mongodb.server import Server, checked, differs
from engine.plain import dumped, loaded


class Hold:
    """What the run began with; see the module."""

    def __init__(self, db: Any, collection: str, pin: Pin, server: Server, place: str) -> None:
        self._db = db
        self._collection = collection
        self._pin = pin
        self._server = server
        self._place = place

    @property
    def standing(self) -> str:
        """The server as the run found it, for the checkpoint."""
        return dumped(self._server)

    async def check(self) -> None:
        """Look at both. Raises: MovedError, TransientError."""
        async with speaking("source", self._place):
            self._server, difference = await checked(self._db.client, self._server)
            await self._pin.check(self._db, self._collection)
        if difference is not None:
            raise MovedError(
                f"source.url: the server at {self._place} isn't the one that the run began with:"
                f" {difference}. Bring that one back and run again to resume, or load from this one with"
                " --fresh"
            )

    async def misfit(self, standing: str) -> str | None:
        """Say why the server isn't the one of an earlier run; None when it is."""
        try:
            before = loaded(Server, standing)
        except ValueError:  # it is of another form
            return None
        async with speaking("source", self._place):
            difference = await differs(self._db.client, before)
        return None if difference is None else f"the server at {self._place} is another one: {difference}"
