"""The lease of a job whose state is in a DynamoDB table: one runner over all machines.

Invariant: at most one owner at a time, by conditional writes. Each taking has a term of its own; renewals
and checkpoints count only under it, so whoever was away while another one had the lease can't go on, even if
it was given back meanwhile. The tenure ends by the holder's own clock, counted from before it asked: nothing
is sent behind that. Only how soon another may take over goes by wall clocks.
"""

import asyncio
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from connectors.dynamodb.http.calls import CallRefused
from connectors.dynamodb.http.session import open_session
from connectors.dynamodb.state.section import DynamoDBStateSection
from connectors.dynamodb.state.table import Item, StateTable, key
from engine.clock import boot_s, utc_at
from engine.errors import BackfillError, JobError
from engine.own_files import replaced
from engine.tasks import ended
from engine.tenure import Tenure

log = logging.getLogger(__name__)

BEATS = 4
"""So often in a lease it is renewed: three beats may fail before it ends."""

LOOK_S = 1.0
"""How often is looked whether a beat is due: a machine that was suspended shall notice it soon."""

CLOCKS_APART = 1 / 6
"""Share of a lease by which the clocks of two machines may be apart: ten seconds of a minute. So much later
than it says can a lease be taken over."""

REFUSED = "ConditionalCheckFailedException"
OWNER_NAME = "owner"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def owner_of(directory: Path, lock_fd: int) -> str:
    """Return who runs jobs from this state directory, the same after a crash.

    A runner that was killed is followed at once by the next one here, which holds the directory's own lock.
    That needs the very lock: a copy of the directory has another inode, a copy of the machine another boot.
    """
    path = directory / OWNER_NAME
    if not path.exists() or not path.read_text():
        with replaced(path) as file:
            file.write(uuid.uuid4().hex.encode())
    lock = os.fstat(lock_fd)
    boot = BOOT_ID.read_text().strip() if BOOT_ID.exists() else "unknown"
    return f"{path.read_text().strip()}@{socket.gethostname()}/{boot}/{lock.st_dev:x}:{lock.st_ino:x}"


class TableLease:
    """A held lease, kept alive by a heartbeat until it is released. Units: seconds."""

    def __init__(self, table: StateTable, owner: str, clock: Callable[[], float], lease_s: float) -> None:
        self._table = table
        self.owner = owner
        self._clock = clock
        self._lease_s = lease_s
        self._apart_s = CLOCKS_APART * lease_s
        self._heart: asyncio.Task[None] | None = None

    @property
    def tenure(self) -> Tenure:
        """Until when its holder may send."""
        return self._table.tenure

    async def take(self) -> None:
        """Take the lease. Raises: JobError when another runner holds it."""
        asked_s, now = boot_s(), self._clock()
        with self._table.told():
            try:
                await self._table.call(
                    "PutItem",
                    TableName=self._table.table,
                    Item=self._item(now),
                    ConditionExpression="attribute_not_exists(PK) OR #owner = :owner OR #expires < :stale",
                    ExpressionAttributeNames={"#owner": "owner", "#expires": "expires_at"},
                    ExpressionAttributeValues={
                        ":owner": {"S": self.owner},
                        ":stale": {"N": f"{now - self._apart_s:.3f}"},
                    },
                )
            except CallRefused as error:
                if error.code != REFUSED:
                    raise
                holder = await self._table.get("LEASE")
                raise JobError(self._refusal(holder, now)) from error
        self.tenure.until(asked_s + self._lease_s)
        log.debug("the lease in %s is ours for %g s", self._table.table, self._lease_s)
        self._heart = asyncio.create_task(self._beat())

    async def release(self) -> None:
        """Give the lease back; if that fails it runs out by itself."""
        await ended(self._heart)
        with suppress(BackfillError), self._table.told():
            await self._table.call(
                "DeleteItem",
                TableName=self._table.table,
                Key=key(self._table.job, "LEASE"),
                ConditionExpression="#term = :term",
                ExpressionAttributeNames={"#term": "term"},
                ExpressionAttributeValues={":term": {"S": self._table.term}},
            )

    async def renew(self) -> bool:
        """Make the lease last longer; False when it isn't this holder's any more."""
        async with self._table.writing:
            asked_s, now = boot_s(), self._clock()
            with self._table.told():
                try:
                    await self._table.call(
                        "UpdateItem",
                        TableName=self._table.table,
                        Key=key(self._table.job, "LEASE"),
                        UpdateExpression="SET #expires = :expires",
                        ConditionExpression="#term = :term",
                        ExpressionAttributeNames={"#term": "term", "#expires": "expires_at"},
                        ExpressionAttributeValues={
                            ":term": {"S": self._table.term},
                            ":expires": {"N": f"{now + self._lease_s:.3f}"},
                        },
                    )
                except CallRefused as error:
                    if error.code != REFUSED:
                        raise
                    return False
        self.tenure.until(asked_s + self._lease_s)
        log.debug("the lease in %s is renewed for %g s", self._table.table, self._lease_s)
        return True

    async def ensure(self) -> None:
        """See that the lease is held, and renew it where it has ended.

        Raises: PermanentError when it is lost.
        """
        if not self.tenure.held:
            if not await self.renew():
                self.tenure.lose(await self._table.loss())
            self.tenure.prove()

    async def _beat(self) -> None:
        """Renew until the lease is lost; then nothing more is sent under it."""
        every_s = self._lease_s / BEATS
        while True:
            await _until(boot_s() + every_s)
            with suppress(BackfillError):  # out of reach: the next beat tries again
                if not await self.renew():
                    self.tenure.lose(await self._table.loss())
                    return

    def _item(self, now: float) -> Item:
        return {
            **key(self._table.job, "LEASE"),
            "owner": {"S": self.owner},
            "holder": {"S": f"pid {os.getpid()} on {socket.gethostname()}"},
            "since": {"S": utc_at(now)},
            "term": {"S": self._table.term},
            "expires_at": {"N": f"{now + self._lease_s:.3f}"},
        }

    def _refusal(self, holder: Item | None, now: float) -> str:
        refused = f"job {self._table.job} is already being run"
        if holder is None:
            return f"{refused}; wait for it to end"
        left_s = max(0.0, float(holder["expires_at"]["N"]) + self._apart_s - now)
        return (
            f"{refused} by {holder['holder']['S']} since {holder['since']['S']};"
            f" wait for it to end or stop it (if it died, its lease runs out in {left_s:.0f} s)"
        )


async def _until(due_s: float) -> None:
    """Sleep by the clock that goes on while the machine is suspended; the event loop's doesn't."""
    while (left_s := due_s - boot_s()) > 0:  # noqa: ASYNC110 - no event comes of a clock
        await asyncio.sleep(min(left_s, LOOK_S))


async def alive(section: DynamoDBStateSection, job_name: str, clock: Callable[[], float] = time.time) -> bool:
    """Return whether a runner holds the job's lease, on whatever machine. The table must be there."""
    session = await open_session(section.as_target())
    async with session.calls() as call:
        lease = await StateTable(call, section.table, job_name).get("LEASE")
    return lease is not None and float(lease["expires_at"]["N"]) > clock()
