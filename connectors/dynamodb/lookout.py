"""Whether the table that is written to is still the one that was described when the run began.

Two looks that complete one another. Each connection asks before its first write, so nothing is written to
whatever another address, proxy or server has put in the table's place; and the runner asks again and again
over the whole run, so a table that was deleted and made anew is found out although connections live on.

Invariant: only an answer that says something else ends a run; no answer, a refusal to answer or a server that
is too busy says nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson

from connectors.dynamodb.http.connection import Answer, TransportError
from connectors.dynamodb.http.session import Session, open_session
from connectors.dynamodb.http.transport import Transport
from connectors.dynamodb.section import DynamoDBSection
from connectors.dynamodb.table_info import WRITABLE, TableInfo, table_info
from connectors.dynamodb.writing.answers import EXPIRIES, code_of
from engine.contracts.target import Look
from engine.errors import TargetUnfit

OPERATION = "DescribeTable"

LOOK_TIMEOUT_S = 2.0
"""A checkpoint waits for a look; a target that is away must not hold it up."""

GONE_TRIES, GONE_PAUSE_S = 4, 0.5
"""A table counts as gone when so many looks in a row say so: DescribeTable is eventually consistent.
Source: API reference, DescribeTable."""


class Lookout:
    """Judges answers to DescribeTable by what the table was at the start. Pure."""

    operation = OPERATION

    def __init__(self, table: TableInfo, name: str) -> None:
        self._table = table
        self._name = name
        self.body = orjson.dumps({"TableName": name})

    def judge(self, answer: Answer) -> str | None:
        """Return None when the table is the same, else why that can't be told.

        Raises: TargetUnfit when it is another one, or doesn't take writes any more; TableGone.
        """
        try:
            said = orjson.loads(answer.body)
            if answer.status != 200:
                code = code_of(said)
                if code == "ResourceNotFound":
                    raise TableGone(
                        f"table {self._name} isn't there any more: bring it back and run again, or create it"
                        " and load everything with --fresh"
                    )
                return f"{code}: {said.get('message') or said.get('Message') or 'no reason given'}"
            now = table_info(said["Table"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return f"HTTP {answer.status} without a readable answer"
        if (difference := moved(self._table, now)) is not None:
            raise TargetUnfit(
                f"table {self._name} {difference}: put the one back that the run began with and run again, or"
                " load everything into this one with --fresh"
            )
        return None


class TableGone(TargetUnfit):
    """There is no such table, as far as one answer tells."""


def moved(before: TableInfo, now: TableInfo) -> str | None:
    """Say how a table isn't the one that it was, or can't be written to; None when it is. Pure.

    Capacities, indexes, billing and streams may change while it is written.
    """
    # An id says it all. Without one the time has to; ScyllaDB's, though, was once that of the answer
    # (scylladb/scylladb#5013).
    by_id = bool(before.table_id and now.table_id)
    if (before.table_id != now.table_id) if by_id else (before.created_at != now.created_at):
        return (
            f"was replaced while it was written to: it was created at {before.created_at},"
            f" the one that answers now at {now.created_at}"
        )
    if before.arn != now.arn:
        return f"is another one than the run began with: {before.arn} then, {now.arn} now"
    if before.keys != now.keys:
        keys = " and ".join(f"{key.name} ({key.type})" for key in now.keys)
        return f"has another key now: {keys}"
    return None if now.status in WRITABLE else f"is {now.status}"


@asynccontextmanager
async def watched(
    section: DynamoDBSection, table: TableInfo, session: Session | None = None
) -> AsyncIterator[Look]:
    """Yield what looks at the table whenever it is called, on a connection of its own."""
    session = session or await open_session(section)
    transport = session.transport(connections_max=1)
    lookout = Lookout(table, section.table)

    async def ask() -> str | None:
        for _ in range(GONE_TRIES - 1):
            try:
                return await _ask(transport, lookout)
            except TableGone:
                await asyncio.sleep(GONE_PAUSE_S)
        return await _ask(transport, lookout)

    async def look() -> str | None:
        unknown = await ask()
        if unknown is not None and unknown.split(":", 1)[0] in EXPIRIES:
            await session.refresh()
            unknown = await ask()
        return unknown

    try:
        yield look
    finally:
        await transport.close()


async def _ask(transport: Transport, lookout: Lookout) -> str | None:
    try:
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            return lookout.judge(await transport.send(OPERATION, (lookout.body,)))
    except TransportError as error:
        return str(error)
    except TimeoutError:
        return f"no answer within {LOOK_TIMEOUT_S:g} s"
