"""The items of a checkpoint in a DynamoDB table: reading, writing and fencing them.

Shape: partition key `PK` and sort key `SK`, both S. Below `JOB`: `LEASE`, `RUN` (the latest run's record),
`CLOSED` (the latest that went to its end) and `BESIDE#…` (see engine.state.beside). Below
`JOB#RUN_ID`: `SEGMENT#00000012` (a segment's record and its version),
`LETTERS#00000012#000000000034#000000` (dead letters of one advance: segment, version, part). The segments of
a run with many lie below `JOB#RUN_ID#03` and its like: `RUN` has in `spread` below how many. Long texts that
don't change lie apart (still.py): `TEXT#…` below `JOB#RUN_ID`, `BESIDE-NAME#…` below `JOB`.
Invariant: what counts is written only while the lease is held, checked in the same transaction.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NoReturn, TypeAlias

from connectors.dynamodb.errors import Subject
from connectors.dynamodb.http.calls import CallRefused, Calls, told
from engine.errors import BackfillError, PermanentError, TransientError
from engine.retry import Patience, RetryPolicy
from engine.state.records import STATE_VERSION, RunRecord, SegmentRecord, run_text, segment_text
from engine.tasks import together
from engine.tenure import NEVER, Tenure

Item: TypeAlias = dict[str, Any]

TRANSACT_ACTIONS_MAX = 100
"""Actions of one TransactWriteItems. Source: API reference, TransactWriteItems."""

BATCH_ITEMS_MAX = 25
"""Items of one BatchWriteItem. Source: API reference, BatchWriteItem."""

BATCHES_ABREAST = 4
"""So many BatchWriteItem at a time."""

SEGMENTS_PER_KEY = 256
"""Segments below one partition key. A checkpoint is written each second, a change costs two units in its
transaction, and a partition takes 1,000 a second: this leaves half of them.

Source: Amazon DynamoDB developer guide, "Best practices for designing and using partition keys effectively",
"Read/write capacity mode", transactional writes.
"""

KEYS_MAX = 64
"""So many partition keys are asked when a run is read; they take 16,000 changes a second."""

SPREAD_VERSION = 2
"""Version of a state whose segments lie below several partition keys; STATE_VERSION where below one."""

STILL_VERSION = 3
"""Version of a state whose run refers to a text in items of its own."""

BUSY = RetryPolicy(base_s=0.05, cap_s=5.0, give_up_after_s=15.0)
"""For what a table answers that has little capacity, or another writer at the same items."""

_PASSING = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
_REFUSED = "ConditionalCheckFailed"


class LeaseLost(PermanentError):
    """Another runner has taken the job over."""


class StateTable:
    """One job's items, seen through control-plane calls."""

    def __init__(self, call: Calls, table: str, job_name: str) -> None:
        self.call = call
        self.table = table
        self.job = job_name
        self.term = uuid.uuid4().hex
        """What tells this holder's lease from any taken before or after."""
        self.tenure = Tenure(-NEVER)
        self.writing = asyncio.Lock()
        """Held while the lease item is touched: a heartbeat would make a transaction conflict."""

    def told(self) -> AbstractContextManager[None]:
        """Turn what a call raises into a sentence about this table."""
        return told(Subject("state.table", f"the state table {self.table}"))

    async def get(self, sort_key: str) -> Item | None:
        """Return one of the job's items as it is now."""
        with self.told():
            answer = await self.call(
                "GetItem", TableName=self.table, Key=key(self.job, sort_key), ConsistentRead=True
            )
        item: Item | None = answer.get("Item")
        return item

    async def segments(self, run_id: str, spread: int) -> list[Item]:
        """Return the items of a run's segments, which lie below so many partition keys."""

        async def below(partition_key: str) -> list[Item]:
            return [item async for item in self.below(partition_key, "SEGMENT#")]

        keys = [segments_key(self.job, run_id, number, spread) for number in range(spread)]
        return [item for items in await together(map(below, keys)) for item in items]

    async def of_run(self, run_id: str, prefix: str) -> AsyncIterator[Item]:
        """Yield the items below a run's own partition key whose sort key starts so, in its order."""
        async for item in self.below(run_key(self.job, run_id), prefix):
            yield item

    async def below(self, partition_key: str, prefix: str) -> AsyncIterator[Item]:
        """Yield the items below a partition key whose sort key starts so, in its order."""
        behind: Item = {}
        while True:
            with self.told():
                page = await self.call(
                    "Query",
                    TableName=self.table,
                    ConsistentRead=True,
                    KeyConditionExpression="PK = :pk AND begins_with(SK, :sk)",
                    ExpressionAttributeValues={":pk": {"S": partition_key}, ":sk": {"S": prefix}},
                    **behind,
                )
            for item in page["Items"]:
                yield item
            if not page.get("LastEvaluatedKey"):
                return
            behind = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    async def put_all(self, items: Sequence[Item]) -> None:
        """Write items that nothing counts on yet."""
        await self._batch([{"PutRequest": {"Item": item}} for item in items])

    async def delete_all(self, items: Sequence[Item]) -> None:
        """Delete items that nothing counts on any more."""
        await self._batch(
            [{"DeleteRequest": {"Key": {name: item[name] for name in ("PK", "SK")}}} for item in items]
        )

    async def loss(self) -> str:
        """Say why the lease isn't held any more."""
        holder = await self.get("LEASE")
        lost = f"job {self.job} lost its lease in the state table {self.table}: "
        if holder is None:
            return (
                f"{lost}another runner has had it meanwhile, or the table was made anew or restored;"
                " nothing more is sent: run again to go on from what is checkpointed there"
            )
        if holder.get("term", {}).get("S") == self.term:
            return (
                f"the checkpoint of job {self.job} in the state table {self.table} isn't the one that was"
                " written last: the table was restored, or somebody has changed it; run again to go on from"
                " what is there"
            )
        return (
            f"{lost}another runner has taken it over ({holder['holder']['S']} since {holder['since']['S']});"
            " what isn't checkpointed is loaded by that one"
        )

    async def _batch(self, requests: list[Item]) -> None:
        abreast = asyncio.Semaphore(BATCHES_ABREAST)

        async def some(start: int) -> None:
            async with abreast:
                await self._written(requests[start : start + BATCH_ITEMS_MAX])

        await together(map(some, range(0, len(requests), BATCH_ITEMS_MAX)))

    async def _written(self, requests: list[Item]) -> None:
        left = {self.table: requests}
        patience = Patience(BUSY)
        while left:
            self.tenure.prove()  # no condition guards these, and another runner may use the same keys
            with self.told():
                answer = await self.call("BatchWriteItem", RequestItems=left)
            left = answer.get("UnprocessedItems") or {}
            if left:
                why = f"the state table {self.table} is throttled for too long: give it more capacity"
                await patience.wait(TransientError(why))

    async def commit(self, actions: Sequence[Item]) -> None:
        """Do all actions or none, only while the lease is held under this term.

        Raises: LeaseLost; PermanentError, TransientError.
        """
        checked = [
            {
                "ConditionCheck": {
                    "TableName": self.table,
                    "Key": key(self.job, "LEASE"),
                    "ConditionExpression": "#term = :term",
                    "ExpressionAttributeNames": {"#term": "term"},
                    "ExpressionAttributeValues": {":term": {"S": self.term}},
                }
            },
            *actions,
        ]
        assert len(checked) <= TRANSACT_ACTIONS_MAX, f"{len(checked)} actions in one transaction"
        async with self.writing:
            patience = Patience(BUSY)
            while codes := await self._transact(checked):
                if not codes <= _PASSING:
                    await self._refuse(codes)
                why = (
                    f"the state table {self.table} doesn't take a transaction ({', '.join(sorted(codes))}):"
                    " give it more capacity, or see who else writes to it"
                )
                await patience.wait(TransientError(why))

    async def _transact(self, actions: list[Item]) -> set[str]:
        """Try a transaction. Returns why it was cancelled; nothing when it is done."""
        # Where an answer is lost the same token makes the repetition the same transaction.
        token = str(uuid.uuid4())
        with self.told():
            try:
                await self.call("TransactWriteItems", TransactItems=actions, ClientRequestToken=token)
            except CallRefused as refused:
                if refused.code != "TransactionCanceledException":
                    raise
                reasons = refused.body.get("CancellationReasons") or []
                return {each["Code"] for each in reasons if each.get("Code", "None") != "None"} or {_REFUSED}
        return set()

    async def _refuse(self, codes: set[str]) -> NoReturn:
        if _REFUSED in codes:
            self.tenure.lose(await self.loss())
            assert self.tenure.lost is not None
            raise LeaseLost(self.tenure.lost)
        raise PermanentError(f"the state table {self.table} refuses a checkpoint: {', '.join(sorted(codes))}")

    def put_run(self, sort_key: str, record: RunRecord, spread: int, still: str | None = None) -> Item:
        """Return the action that puts a run's record; its segments lie below so many partition keys.

        `still`: the digest of what was parted from it.
        """
        version = STATE_VERSION if spread == 1 else SPREAD_VERSION
        item = {
            **key(self.job, sort_key),
            "record": {"S": run_text(record)},
            "version": {"N": str(version if still is None else STILL_VERSION)},
            "spread": {"N": str(spread)},
        }
        if still is not None:
            item["still"] = {"S": still}
        return {"Put": {"TableName": self.table, "Item": item}}

    def put_segment(self, run_id: str, record: SegmentRecord, version_before: int, spread: int) -> Item:
        """Return the action that puts a segment's record over the one that this store knows."""
        return {
            "Put": {
                "TableName": self.table,
                "Item": self.segment_item(run_id, record, spread),
                "ConditionExpression": "#version = :before",
                "ExpressionAttributeNames": {"#version": "version"},
                "ExpressionAttributeValues": {":before": {"N": str(version_before)}},
            }
        }

    def segment_item(self, run_id: str, record: SegmentRecord, spread: int) -> Item:
        """Return a segment's item."""
        number = record.segment.number
        return {
            **key(segments_key(self.job, run_id, number, spread), f"SEGMENT#{number:08d}"),
            "record": {"S": segment_text(record)},
            "version": {"N": str(record.version)},
        }


def spread_for(segments: int) -> int:
    """Return below how many partition keys a run's segments are to lie."""
    return max(1, min(KEYS_MAX, -(-segments // SEGMENTS_PER_KEY)))


def key(partition_key: str, sort_key: str) -> Item:
    """Return an item's primary key."""
    return {"PK": {"S": partition_key}, "SK": {"S": sort_key}}


def run_key(job_name: str, run_id: str) -> str:
    """Return the partition key of a run's dead letters, and of its segments where they lie below one."""
    return f"{job_name}#{run_id}"


def segments_key(job_name: str, run_id: str, number: int, spread: int) -> str:
    """Return the partition key of a segment. Those that are read at a time have neighbouring numbers."""
    whole = run_key(job_name, run_id)
    return whole if spread == 1 else f"{whole}#{number % spread:02d}"


@contextmanager
def called_state() -> Iterator[None]:
    """Name the state's keys where a shared message speaks of the target's."""
    try:
        yield
    except BackfillError as error:
        error.args = (str(error).replace("target.create", "the state").replace("target", "state"),)
        raise
