"""Calls about tables, and those of state kept in one: a question, an answer, over the items' own transport.

Invariant: a call is repeated only as the SDKs' standard mode would, a few times and with pauses; what is
refused is told by its code. Whoever calls sees to it that repeating does no harm (ClientRequestToken).
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from random import SystemRandom
from typing import Any, Protocol

import orjson

from connectors.dynamodb.errors import ENDED, Subject, bare, refused, unreached
from connectors.dynamodb.http.connection import TransportError
from connectors.dynamodb.http.transport import Transport
from engine.errors import PermanentError
from engine.retry import RetryPolicy

TRIES = 4
BETWEEN = RetryPolicy(base_s=0.1, cap_s=20.0, give_up_after_s=0.0)

PASSING = frozenset(
    {
        *("InternalServerError", "LimitExceeded", "PriorRequestNotComplete", "ProvisionedThroughputExceeded"),
        *(
            "RequestLimitExceeded",
            "RequestThrottled",
            "RequestTimeout",
            "SlowDown",
            "Throttled",
            "Throttling",
        ),
        *("TooManyRequests", "TransactionInProgress"),
    }
)
PASSING_STATUS = frozenset({500, 502, 503, 504})
"""Source: botocore.retries.standard, ThrottledRetryableChecker and TransientRetryableChecker."""


class CallRefused(PermanentError):
    """The server has answered, and not with what was asked for.

    Shape: `code` as the server names it, `reason` its own words; `body` all that it said.
    """

    def __init__(self, operation: str, status: int, body: Mapping[str, Any]) -> None:
        self.operation = operation
        named = str(body.get("__type") or body.get("code") or "").rsplit("#", 1)[-1]
        self.code = named or f"HTTP {status}"
        self.reason = str(body.get("message") or body.get("Message") or "")
        self.body = body
        self.passing = status in PASSING_STATUS or bare(self.code) in PASSING
        super().__init__(": ".join(filter(None, (self.code, self.reason))))


class Renewer(Protocol):
    """Whoever can look for other credentials."""

    async def refresh(self) -> bool:
        """Look for credentials anew; True if they have changed. Raises: PermanentError."""


class Calls:
    """Asks one endpoint. Belongs to one event loop."""

    def __init__(self, transport: Transport, renewer: Renewer) -> None:
        self._transport = transport
        self._renewer = renewer
        self._random = SystemRandom()

    async def __call__(self, operation: str, **body: Any) -> dict[str, Any]:
        """Return the answer to one operation, in DynamoDB's own JSON: binary values are base64.

        Raises: CallRefused; TransportError where nobody answers; PermanentError.
        """
        parts = (orjson.dumps(body),)
        renewed = False
        for attempt in range(1, TRIES):
            try:
                return await self._once(operation, parts)
            except TransportError:
                pass
            except CallRefused as refused:
                if bare(refused.code) in ENDED and not renewed and await self._renewer.refresh():
                    renewed = True
                elif not refused.passing:
                    raise
            await asyncio.sleep(BETWEEN.pause_s(attempt, self._random))
        return await self._once(operation, parts)

    async def _once(self, operation: str, parts: Sequence[bytes]) -> dict[str, Any]:
        answer = await self._transport.send(operation, parts)
        said = _read(answer.body)
        if answer.status != 200 or said is None:
            raise CallRefused(operation, answer.status, said or {})
        return said


def _read(body: bytes) -> dict[str, Any] | None:
    try:
        said = orjson.loads(body)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


@contextmanager
def told(of: Subject) -> Iterator[None]:
    """Turn what a call raises into one sentence. Raises: JobError, PermanentError, TransientError."""
    try:
        yield
    except CallRefused as refusal:
        raise refused(refusal.code, refusal.reason, refusal.operation, of) from refusal
    except TransportError as error:
        raise unreached(error, of) from error


@asynccontextmanager
async def calling(transport: Transport, renewer: Renewer) -> AsyncGenerator[Calls, None]:
    """Yield what asks over a transport, and close that behind it."""
    try:
        yield Calls(transport, renewer)
    finally:
        await transport.close()
