"""What carries requests to DynamoDB, as those who read and write see it."""

from collections.abc import Sequence
from typing import Protocol

from connectors.dynamodb.http.connection import Answer, Ended


class Exchange(Protocol):
    """A request that is out, however it is sent."""

    def cancel(self) -> object:
        """Abandon it: nobody is told how it ended."""


class Sender(Protocol):
    """Sends requests side by side; a Transport, but for tests."""

    def begin(self, operation: str, parts: Sequence[bytes | memoryview], ended: Ended) -> Exchange | None:
        """Send one request without waiting, and have `ended` told later; None: it has to wait, in `send`.

        Raises: LeaseOver, PermanentError.
        """

    async def send(self, operation: str, parts: Sequence[bytes | memoryview]) -> Answer:
        """Send one request and return its answer. Raises: TransportError, LeaseOver, PermanentError."""

    async def close(self) -> None:
        """Close every connection."""
