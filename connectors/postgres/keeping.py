"""The connection that keeps the run's snapshot, lent for reading where the server gives no other.

Invariant: lent to one reader at a time, and whatever that one did is undone when it comes back, so that the
snapshot outlives it.
"""

import asyncio
from contextlib import suppress
from typing import Any

from connectors.postgres.errors import CONNECT_TIMEOUT_S, NoRoomError, speaking
from connectors.postgres.session import abandon

ALONE = (
    "The source gives this run no other connection, so it reads on the one that it has, one segment after"
    " the other; with three it reads two side by side."
)


class Keeper:
    """One connection within its transaction."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._lent = asyncio.Lock()

    async def lend(self, *, waits: bool) -> Any:
        """Return the connection; the next one waits until it is back. Raises: NoRoomError, TransientError.

        Without `waits` it is an error that it is away: who has it may be waiting for what is asked here.
        """
        if self._lent.locked() and not waits:
            raise NoRoomError(
                "source.url: this needs two connections at a time, and the server gives one; raise the limit"
            )
        await self._lent.acquire()
        try:
            async with speaking("source"):
                await self.connection.execute("SAVEPOINT lent")
        except BaseException:
            self._lent.release()
            raise
        return self.connection

    async def back(self) -> None:
        """Take the connection back; one that doesn't answer is given up, and the snapshot with it."""
        try:
            undo = "ROLLBACK TO SAVEPOINT lent; RELEASE SAVEPOINT lent"
            if not self.connection.is_closed():
                await asyncio.wait_for(self.connection.execute(undo), CONNECT_TIMEOUT_S)
        except Exception:
            with suppress(Exception):
                await abandon(self.connection)
        finally:
            self._lent.release()


def instead(keeper: Keeper | None, error: BaseException, notices: list[str]) -> Keeper:
    """Return the keeper, as there is no room for another connection; raise where it is gone. Says which."""
    alive = keeper is not None and not keeper.connection.is_closed()
    notice = ALONE if alive else str(error)
    if notice not in notices:
        notices.append(notice)
    if keeper is None or not alive:
        raise error
    return keeper
