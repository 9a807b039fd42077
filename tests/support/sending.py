"""Tables in memory as a transport: some answers call back, others are awaited."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

from connectors.dynamodb.http.connection import Answer


class TakingTurns:
    """Begins every other request at once, as if a connection were free; the others wait in `send`."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._begins = cycle((True, False))

    async def send(self, operation: str, parts: Sequence[bytes | memoryview]) -> Answer:
        return await self._table.send(operation, parts)

    def begin(
        self,
        operation: str,
        parts: Sequence[bytes | memoryview],
        ended: Callable[[Answer | Exception], None],
    ) -> asyncio.Task[None] | None:
        if not next(self._begins):
            return None

        async def sent() -> None:
            try:
                outcome: Answer | Exception = await self.send(operation, parts)
            except Exception as error:  # told, as a connection does
                outcome = error
            ended(outcome)

        return asyncio.get_running_loop().create_task(sent())
