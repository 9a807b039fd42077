"""Reads of one table: retried with jitter, consistent, no faster than the budget allows.

Invariant: an answer is handed on whole or not at all; a key that is asked for was read, found or not.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from random import Random, SystemRandom
from typing import Any, Protocol, TypeAlias, TypeVar

import orjson

from connectors.dynamodb.http.connection import Answer, TransportError
from connectors.dynamodb.http.session import open_session
from connectors.dynamodb.http.transport import Transport
from connectors.dynamodb.reading.budget import Budget
from connectors.dynamodb.reading.requests import (
    GET_KEYS_MAX,
    Page,
    consumed,
    found,
    get_body,
    page,
    scan_body,
    unprocessed,
)
from connectors.dynamodb.section import DynamoDBSection
from connectors.dynamodb.writing import answers
from engine.errors import PermanentError, RetriesExhausted, TransientError
from engine.retry import Patience, RetryPolicy, patiently
from engine.tasks import together

IN_FLIGHT_MAX = 16
RETRIES = RetryPolicy(base_s=0.05, cap_s=5.0)

Item = dict[str, Any]
Read = TypeVar("Read", Page, Item)
Parse: TypeAlias = Callable[[bytes], tuple[Read, float]]
"""Reads an answer and what it consumed, in read units."""


class UnansweredError(TransientError):
    """A read has to be asked for again."""


class Sender(Protocol):
    """What carries requests."""

    async def send(self, operation: str, parts: Sequence[bytes | memoryview]) -> Answer:
        """Send one request and return its answer. Raises: TransportError, PermanentError."""


class Reader:
    """Reads one table. Belongs to one event loop."""

    def __init__(
        self,
        sender: Sender,
        renew: Callable[[], Awaitable[object]],
        table: str,
        *,
        max_rcu: float | None = None,
        give_up_after_s: float = 300.0,
        random: Random | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sender = sender
        self._renew = renew
        self._table = table
        self._retries = replace(RETRIES, give_up_after_s=give_up_after_s)
        self._random = random or SystemRandom()
        self._budget = Budget(max_rcu, self._loop.time())
        self._slots = asyncio.Semaphore(IN_FLIGHT_MAX)

    @property
    def consumed_rcu(self) -> float:
        """Read units that were consumed so far."""
        return self._budget.spent

    async def get(self, keys: Sequence[Mapping[str, Any]]) -> list[Item]:
        """Return the items that there are of these keys, which must differ, in any order.

        Raises: PermanentError, RetriesExhausted.
        """
        parts = [keys[start : start + GET_KEYS_MAX] for start in range(0, len(keys), GET_KEYS_MAX)]
        return [item for items in await together(map(self._get, parts)) for item in items]

    async def scan(
        self, segment: int, total: int, start: Mapping[str, Any] | None = None, limit: int | None = None
    ) -> AsyncGenerator[Page, None]:
        """Yield the pages of one segment from behind `start`.

        Raises: PermanentError, RetriesExhausted.
        """
        while True:
            answer = await self._ask("Scan", scan_body(self._table, segment, total, start, limit), _page)
            start = answer.next
            yield answer
            if start is None:
                return

    async def _get(self, keys: Sequence[Mapping[str, Any]]) -> list[Item]:
        items: list[Item] = []
        fruitless = 0
        while keys:
            answer = await self._ask("BatchGetItem", get_body(self._table, keys), _answer)
            items += found(answer)
            left = unprocessed(answer)
            fruitless = fruitless + 1 if len(left) == len(keys) else 0
            keys = left
            if fruitless:
                await asyncio.sleep(RETRIES.pause_s(fruitless, self._random))
        return items

    async def _ask(self, operation: str, body: bytes, parse: Parse[Read]) -> Read:
        """Send a read until it is answered."""

        async def attempt() -> Read:
            async with self._slots:
                await asyncio.sleep(self._budget.wait_s(self._loop.time()))
                return await self._try(operation, body, parse)

        try:
            return await patiently(attempt, Patience(self._retries, self._random), UnansweredError)
        except RetriesExhausted as error:
            raise RetriesExhausted(
                f"{operation} of table {self._table} has failed for {self._retries.give_up_after_s:g} s"
                f" ({error}); try again later"
            ) from error

    async def _try(self, operation: str, body: bytes, parse: Parse[Read]) -> Read:
        """Return the answer. Raises: UnansweredError; PermanentError."""
        try:
            answer = await self._sender.send(operation, [body])
        except TransportError as error:
            raise UnansweredError(str(error)) from error
        if answer.status == 200:
            try:
                parsed, units = parse(answer.body)
            except ValueError as error:
                raise UnansweredError("the answer is no JSON") from error
            self._budget.spend(units)
            return parsed
        match answers.judge("put", answer, 1):
            case answers.Throttled():
                why = "throttled"
            case answers.Expired(detail):
                await self._renew()
                why = detail
            case answers.Fatal() as verdict:
                raise answers.explained(verdict, operation, self._table)
            case answers.Refused(detail):
                raise PermanentError(f"{operation} of table {self._table} is refused: {detail}")
            case answers.Unavailable(detail) | answers.Conflict(detail):
                why = detail
            case _:
                why = f"status {answer.status}"
        raise UnansweredError(why)


class TableReader(Reader):
    """A Reader with a transport of its own."""

    def __init__(self, transport: Transport, *arguments: Any, **options: Any) -> None:
        super().__init__(transport, *arguments, **options)
        self._transport = transport

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.close()


async def open_reader(section: DynamoDBSection, max_rcu: float | None) -> TableReader:
    """Open a table for reading.

    Raises: JobError when region, endpoint or credentials are missing.
    """
    session = await open_session(section)
    transport = session.transport(connections_max=IN_FLIGHT_MAX)
    return TableReader(
        transport, session.refresh, section.table, max_rcu=max_rcu, give_up_after_s=section.give_up_after_s
    )


def _answer(body: bytes) -> tuple[Item, float]:
    answer: Item = orjson.loads(body)
    return answer, consumed(answer)


def _page(body: bytes) -> tuple[Page, float]:
    read = page(body)
    return read, read.consumed
