"""Reads of one table: retried with jitter, consistent, no faster than the budget allows.

Invariant: an answer is handed on whole or not at all; a key that is asked for was read, found or not.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from random import Random, SystemRandom
from typing import Any, TypeAlias, TypeVar

import orjson

from connectors.dynamodb.encoding.comparison import Item
from connectors.dynamodb.http.connection import TransportError
from connectors.dynamodb.http.sender import Sender
from connectors.dynamodb.http.session import open_session
from connectors.dynamodb.reading.requests import (
    GET_KEYS_MAX,
    SEGMENTS_MAX,
    ScanPage,
    consumed,
    found,
    get_body,
    page,
    scan_body,
    unprocessed,
)
from connectors.dynamodb.section import DynamoDBSection
from connectors.dynamodb.table_info import TableInfo
from connectors.dynamodb.writing import answers
from engine.absence import Absence
from engine.errors import RetriesExhausted, TransientError
from engine.retry import Patience, RetryPolicy, patiently
from engine.tasks import together

log = logging.getLogger(__name__)

BURST_S = 1.0
"""Seconds of unused rate that are saved up."""


class Budget:
    """A rate of read units: what was spent beyond it is paid back in waiting before the next request. Pure.

    Units: read units per second; None: no cap.
    """

    __slots__ = ("_at", "_rate", "_units", "spent")

    def __init__(self, rcu_per_s: float | None, now: float) -> None:
        self._rate = rcu_per_s
        self._units = 0.0 if rcu_per_s is None else rcu_per_s * BURST_S
        self._at = now
        self.spent = 0.0
        """Read units altogether."""

    def wait_s(self, now: float) -> float:
        """Return how long the next request has to wait. Units: seconds."""
        if self._rate is None:
            return 0.0
        self._units = min(self._rate * BURST_S, self._units + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, -self._units / self._rate)

    def limit(self, rcu_per_s: float | None, now: float) -> None:
        """Go on at another rate; what was saved up is no more than that one saves."""
        self.wait_s(now)
        units = 0.0 if self._rate is None else self._units  # what was free of a cap is no debt
        self._units = units if rcu_per_s is None else min(units, rcu_per_s * BURST_S)
        self._rate, self._at = rcu_per_s, now

    def spend(self, units: float) -> None:
        """Account for what a request consumed."""
        self.spent += units
        self._units -= units


IN_FLIGHT_MAX = 16
RETRIES = RetryPolicy(base_s=0.05, cap_s=5.0)

RCU_BYTES = 4_096
"""What one read unit pays for. Source: Developer Guide, "Read and write capacity units"."""
SAMPLE_SCANS_MAX = 200
SAMPLE_PAGE_ITEMS = 20

Answered: TypeAlias = dict[str, Any]
Read = TypeVar("Read", ScanPage, Answered)
Parse: TypeAlias = Callable[[bytes], tuple[Read, float]]
"""Reads an answer and what it consumed, in read units."""


class UnansweredError(TransientError):
    """A read has to be asked for again."""


class ThrottledError(UnansweredError):
    """The table is there, and gives no more than it has."""


class TableReader:
    """contracts.TargetReader for one table. Belongs to one event loop."""

    def __init__(
        self,
        sender: Sender,
        renew: Callable[[], Awaitable[object]],
        table: str,
        info: TableInfo,
        *,
        max_rcu: float | None = None,
        give_up_after_s: float = 300.0,
        random: Random | None = None,
        notice: Callable[[str], None] = log.debug,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sender = sender
        self._renew = renew
        self._table = table
        self._info = info
        self._retries = replace(RETRIES, give_up_after_s=give_up_after_s)
        self._random = random or SystemRandom()
        self._away = Absence(
            f"table {table} can't be read ({{error}}): waiting for it, up to {give_up_after_s:g} s",
            f"table {table} is back",
            notice,
            answers=(ThrottledError,),
        )
        self._budget = Budget(max_rcu, self._loop.time())
        self._slots = asyncio.Semaphore(IN_FLIGHT_MAX)

    @property
    def consumed(self) -> float:
        """Read units that were consumed so far."""
        return self._budget.spent

    def limit(self, units_per_s: float | None) -> None:
        """Read so many units a second from here on, at most; None: as fast as may be."""
        self._budget.limit(units_per_s, self._loop.time())

    async def get(self, keys: Sequence[Item]) -> list[Item]:
        """Return the items that there are of these keys, which must differ, in any order.

        Raises: PermanentError, RetriesExhausted.
        """
        parts = [keys[start : start + GET_KEYS_MAX] for start in range(0, len(keys), GET_KEYS_MAX)]
        return [item for items in await together(map(self._get, parts)) for item in items]

    async def scan(
        self, segment: int, total: int, start: Item | None = None, limit: int | None = None
    ) -> AsyncGenerator[ScanPage, None]:
        """Yield the pages of one segment from behind `start`.

        Raises: PermanentError, RetriesExhausted.
        """
        while True:
            answer = await self._ask("Scan", scan_body(self._table, segment, total, start, limit), self._page)
            start = answer.next
            yield answer
            if start is None:
                return

    async def sample(self, count: int, seed: int) -> AsyncGenerator[ScanPage, None]:
        """Yield a page each from random places of the table's key space, which spreads items evenly."""
        random = Random(seed)  # noqa: S311 - a sample, not a secret
        total = max(1, min(SEGMENTS_MAX, self._info.item_count // SAMPLE_PAGE_ITEMS))
        scans = min(total, SAMPLE_SCANS_MAX, max(1, count // SAMPLE_PAGE_ITEMS))
        for segment in random.sample(range(total), scans):
            limit = SAMPLE_PAGE_ITEMS if total > 1 else count
            yield await self._ask("Scan", scan_body(self._table, segment, total, None, limit), self._page)

    def gets_cost_less(self, items: int) -> bool:
        """Whether so many reads by key, each in whole units, cost less than a scan, which pays for bytes."""
        info = self._info
        each = max(1, -(-info.size_bytes // max(1, info.item_count) // RCU_BYTES))
        return items * each < info.size_bytes / RCU_BYTES

    async def close(self) -> None:
        """Close every connection."""
        await self._sender.close()

    async def _get(self, keys: Sequence[Item]) -> list[Item]:
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

    def _page(self, body: bytes) -> tuple[ScanPage, float]:
        read = page(body, self._info.keys)
        return read, read.consumed

    async def _ask(self, operation: str, body: bytes, parse: Parse[Read]) -> Read:
        """Send a read until it is answered."""

        async def attempt() -> Read:
            async with self._slots:
                await asyncio.sleep(self._budget.wait_s(self._loop.time()))
                return await self._try(operation, body, parse)

        try:
            patience = Patience(self._retries, self._random, self._away)
            return await patiently(attempt, patience, UnansweredError)
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
        match answers.judge(answers.read_single, answer, 1):
            case answers.Throttled():
                raise ThrottledError("throttled")
            case answers.Expired(detail):
                await self._renew()
                why = detail
            case answers.Fatal() as verdict:
                raise answers.explained(verdict, operation, self._table)
            case answers.Refused(detail):
                raise answers.explained(answers.Fatal(detail), operation, self._table)
            case answers.Unavailable(detail) | answers.Conflict(detail):
                why = detail
            case _:
                why = f"status {answer.status}"
        raise UnansweredError(why)


async def open_reader(
    section: DynamoDBSection, info: TableInfo, max_rcu: float | None, notice: Callable[[str], None]
) -> TableReader:
    """Open a table for reading. `notice` is told when it goes away and when it is back.

    Raises: JobError when region, endpoint or credentials are missing.
    """
    session = await open_session(section)
    transport = session.transport(connections_max=IN_FLIGHT_MAX)
    return TableReader(
        transport,
        session.refresh,
        section.table,
        info,
        max_rcu=max_rcu,
        give_up_after_s=section.give_up_after_s,
        notice=notice,
    )


def _answer(body: bytes) -> tuple[Answered, float]:
    answer: Answered = orjson.loads(body)
    return answer, consumed(answer)
