"""The lease of a job whose state is in a DynamoDB table: one runner over all machines.

Invariant: at most one owner at a time, by conditional writes. A runner that stalls beyond its lease is fenced
off: every checkpoint checks the owner in its own transaction, so clocks decide only how soon another may
take over, never whose checkpoint counts.
"""

import asyncio
import os
import socket
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from connectors.dynamodb.state.table import Item, StateTable, key, told
from engine.clock import utc_at
from engine.errors import BackfillError, JobError

LEASE_S = 60.0
HEARTBEAT_S = 15.0
"""Three heartbeats may fail before another runner can take the job."""

OWNER_NAME = "owner"


def owner_of(directory: Path) -> str:
    """Return who runs jobs from this state directory, the same after a crash.

    A runner that was killed is followed at once by the next one here, which holds the directory's own lock;
    the host's name keeps a copied directory from passing for its original.
    """
    path = directory / OWNER_NAME
    if not path.exists() or not path.read_text():
        path.touch(mode=0o600)
        path.write_text(uuid.uuid4().hex)
    return f"{path.read_text().strip()}@{socket.gethostname()}"


class TableLease:
    """A held lease, kept alive by a heartbeat until it is released."""

    def __init__(self, table: StateTable, owner: str, clock: Callable[[], float]) -> None:
        self._table = table
        self.owner = owner
        self._clock = clock
        self._heart: asyncio.Task[None] | None = None

    async def take(self) -> None:
        """Take the lease. Raises: JobError when another runner holds it."""
        now = self._clock()
        client = self._table.client
        with told(self._table.table):
            try:
                await client.put_item(
                    TableName=self._table.table,
                    Item=self._item(now),
                    ConditionExpression="attribute_not_exists(PK) OR #owner = :owner OR #expires < :now",
                    ExpressionAttributeNames={"#owner": "owner", "#expires": "expires_at"},
                    ExpressionAttributeValues={":owner": {"S": self.owner}, ":now": {"N": f"{now:.3f}"}},
                )
            except client.exceptions.ConditionalCheckFailedException as error:
                holder = await self._table.get("LEASE")
                raise JobError(self._refusal(holder, now)) from error
        self._heart = asyncio.create_task(self._beat())

    async def release(self) -> None:
        """Give the lease back; if that fails it runs out by itself."""
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.gather(self._heart, return_exceptions=True)
        client = self._table.client
        with suppress(BackfillError), told(self._table.table):
            await client.delete_item(
                TableName=self._table.table,
                Key=key(self._table.job, "LEASE"),
                ConditionExpression="#owner = :owner",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={":owner": {"S": self.owner}},
            )

    async def renew(self) -> bool:
        """Make the lease last longer; False when another runner has it."""
        client = self._table.client
        async with self._table.writing:
            with told(self._table.table):
                try:
                    await client.update_item(
                        TableName=self._table.table,
                        Key=key(self._table.job, "LEASE"),
                        UpdateExpression="SET #expires = :expires",
                        ConditionExpression="#owner = :owner",
                        ExpressionAttributeNames={"#owner": "owner", "#expires": "expires_at"},
                        ExpressionAttributeValues={
                            ":owner": {"S": self.owner},
                            ":expires": {"N": f"{self._clock() + LEASE_S:.3f}"},
                        },
                    )
                except client.exceptions.ConditionalCheckFailedException:
                    return False
        return True

    async def _beat(self) -> None:
        """Renew until the lease is lost; the next checkpoint then finds out, and says so."""
        held = True
        while held:
            await asyncio.sleep(HEARTBEAT_S)
            with suppress(BackfillError):  # out of reach: the next beat tries again
                held = await self.renew()

    def _item(self, now: float) -> Item:
        return {
            **key(self._table.job, "LEASE"),
            "owner": {"S": self.owner},
            "holder": {"S": f"pid {os.getpid()} on {socket.gethostname()}"},
            "since": {"S": utc_at(now)},
            "expires_at": {"N": f"{now + LEASE_S:.3f}"},
        }

    def _refusal(self, holder: Item | None, now: float) -> str:
        refused = f"job {self._table.job} is already being run"
        if holder is None:
            return f"{refused}; wait for it to end"
        left_s = max(0.0, float(holder["expires_at"]["N"]) - now)
        return (
            f"{refused} by {holder['holder']['S']} since {holder['since']['S']};"
            f" wait for it to end or stop it (if it died, its lease runs out in {left_s:.0f} s)"
        )
