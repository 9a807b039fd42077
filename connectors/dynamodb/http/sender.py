"""What carries requests to DynamoDB, as those who read and write see it."""

from collections.abc import Sequence
from typing import Protocol

from connectors.dynamodb.http.connection import Answer


class Sender(Protocol):
    """Sends requests side by side; a Transport, but for tests."""

    async def send(self, operation: str, parts: Sequence[bytes | memoryview]) -> Answer:
        """Send one request and return its answer. Raises: TransportError, LeaseOver, PermanentError."""

    async def close(self) -> None:
        """Close every connection."""
