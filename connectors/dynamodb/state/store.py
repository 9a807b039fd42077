"""The checkpoint of one job in a DynamoDB table, for runs that may go on from another machine.

Invariant: a segment's record, with its counts, moves in one conditional write, and the run's totals are their
sum: segments that advance apart still add up. Dead letters are in the table before the record that counts
them; the local file is a copy, built anew when a run goes on.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from connectors.dynamodb.http.session import open_session
from connectors.dynamodb.state import letters as letter_items
from connectors.dynamodb.state.lease import TableLease, owner_of
from connectors.dynamodb.state.reading import damage_told, letters_of, read, read_run
from connectors.dynamodb.state.section import DynamoDBStateSection
from connectors.dynamodb.state.table import (
    TRANSACT_ACTIONS_MAX,
    Item,
    StateTable,
    called_state,
    spread_for,
)
from connectors.dynamodb.state.texts import TextsApart
from connectors.dynamodb.table import create
from engine.batch import Effort, Mark
from engine.contracts.state import RunState
from engine.errors import JobError, PermanentError
from engine.state import records
from engine.state.dead_letters import FILE_NAME, DeadLetterFile
from engine.state.held_run import HeldRun
from engine.state.lease import Lease, take
from engine.state.records import RunRecord, SegmentRecord
from engine.tenure import Tenure

log = logging.getLogger(__name__)


async def open_store(
    section: DynamoDBStateSection, state_dir: Path, job_name: str, clock: Callable[[], float] = time.time
) -> "DynamoDBStore":
    """Take the job's lease, here and in the table, and return its store; the table is made if need be.

    Raises: JobError when another process runs the job, or the table has other keys; PermanentError.
    """
    local = take(state_dir, job_name)
    async with AsyncExitStack() as stack:
        stack.callback(local.release)
        with called_state():
            target = section.as_target()
            await create(target, log.info)
            call = await stack.enter_async_context((await open_session(target)).calls())
        directory = state_dir / job_name
        table = StateTable(call, section.table, job_name)
        lease = TableLease(table, owner_of(directory, local.fd), clock, section.lease_s)
        await lease.take()
        stack.push_async_callback(lease.release)
        resources = stack.pop_all()
    return DynamoDBStore(table, lease, local, DeadLetterFile(directory / FILE_NAME), resources)


class DynamoDBStore:
    """The CheckpointStore in a table. Belongs to one event loop."""

    def __init__(
        self,
        table: StateTable,
        lease: TableLease,
        local: Lease,
        letters: DeadLetterFile,
        resources: AsyncExitStack,
    ) -> None:
        self._table = table
        self._lease = lease
        self._local = local
        self._letters = letters
        self._resources = resources
        self._texts = TextsApart(table)
        self._held = HeldRun()
        self._spread = 1  # below so many partition keys its segments lie
        self._letters_end = 0
        self._failed = False

    @property
    def lease_fd(self) -> int:
        """The local lease's descriptor, for workers to inherit."""
        return self._local.fd

    @property
    def tenure(self) -> Tenure:
        """Until when may be sent under the lease in the table."""
        return self._lease.tenure

    @property
    def dead_letters(self) -> Path:
        """Where this machine's copy of the dead letters is."""
        return self._letters.path

    async def load(self) -> RunState | None:
        """Return the latest run, or None; changes nothing."""
        latest = await read(self._table)
        if latest is None:
            return None
        self._held.record, self._held.segments, self._spread = latest.run, latest.segments, latest.spread
        return self._held.state

    async def last_complete(self) -> RunState | None:
        """Return the latest run that went to its end, without its segments."""
        item = await self._table.get("CLOSED")
        if item is None:
            return None
        with damage_told(self._table.table):
            return (await read_run(self._table, item)).run

    async def begin(self, run: RunState) -> None:
        """Start a run and forget the one before it; what of it is damaged stays in the table, unread."""
        await self._lease.ensure()
        try:
            await self.load()
        except JobError:
            self._held = HeldRun()
        before, before_spread = self._held.record, self._spread
        chain = before.letters_of if before is not None and run.kind == "catch_up" else ()
        record = records.begun(run, letters_base=0, letters_of=(*chain, run.run_id))
        segments = records.segments_of(run)
        spread = spread_for(len(segments))
        await self._table.put_all(
            [self._table.segment_item(run.run_id, each, spread) for each in segments.values()]
        )
        await self._take_over_letters(before, run)
        self._spread = spread
        await self._commit_run(record)
        self._held.begun(record, segments)
        self._failed = False
        if before is not None:
            await self._table.delete_all(await self._table.segments(before.run.run_id, before_spread))
            await self._texts.forget(before.run.run_id)

    async def _take_over_letters(self, before: RunRecord | None, run: RunState) -> None:
        """Set this machine's copy up for a run: emptied for a full one, complete for a catch-up."""
        with _disk_told(self._letters):
            if run.kind != "catch_up":
                self._letters.copy_aside(before.run.run_id if before else f"before-{run.run_id}")
                self._letters.cut(0)
            elif before is not None and self._letters.size() == 0:
                await self._rebuild(before, {})
            self._letters_end = self._letters.settle_end()

    async def resume(self) -> RunState:
        """Go on with the unfinished run, maybe on another machine than before."""
        await self._lease.ensure()
        if self._held.record is None:
            await self.load()
        record, restarted = self._held.to_resume()
        await self._commit_segments(restarted)
        await self._commit_run(records.resumed(record))
        with _disk_told(self._letters):
            await self._rebuild(record, self._held.segments)
            self._letters_end = self._letters.size()
        self._failed = False
        return self._held.resumed()

    async def advance(self, marks: Sequence[Mark], effort: Effort) -> None:
        """Make marks durable: dead letters first, then the segments, 98 in a transaction."""
        run = self._held.current
        if self._failed:
            raise PermanentError("a checkpoint failed before, and the state can't be known: run again")
        await self._lease.ensure()
        changed = records.advanced(self._held.segments, marks)
        texts = letter_items.texts(run.run.run_id, marks)
        versions = {number: segment.version for number, segment in changed.items()}
        self._failed = True
        if texts:
            await self._table.put_all(
                list(letter_items.items(self._table.job, run.run.run_id, texts, versions))
            )
            with _disk_told(self._letters):
                whole = b"".join(texts.values())
                self._letters_end = await asyncio.to_thread(self._letters.append, whole, self._letters_end)
        await self._commit_segments(changed)
        await self._commit_run(records.spent(run, effort))
        self._failed = False

    async def finish(
        self, outcome: str, finished_at: str, effort: Effort, error: str | None, watermark: str | None = None
    ) -> None:
        """Record how this process's part of the run ended."""
        run = records.spent(self._held.current, effort)
        await self._commit_run(
            records.ended(run, self._held.segments, outcome, finished_at, error, watermark)
        )
        self._held.writing = False

    async def collect_dead_letters(self) -> Path:
        """Build this machine's copy of the dead letters anew, and return it."""
        if self._held.record is not None:
            with _disk_told(self._letters):
                await self._rebuild(self._held.record, self._held.segments)
        return self._letters.path

    async def replace_dead_letters(self, lines: Iterable[bytes]) -> None:
        """Put other lines in place of all dead letters: new items first, then the old ones go.

        Stopped between the two, both are there; what was settled is then only tried once more.
        """
        await self._lease.ensure()
        if (held := self._held.record) is not None:
            assert held.run.closed, "an unfinished run counts on its dead letters"
            old = [
                item for run_id in held.letters_of async for item in self._table.of_run(run_id, "LETTERS#")
            ]
            for item in letter_items.kept(self._table.job, held.run.run_id, lines, old):
                await self._table.put_all([item])
            await self._table.delete_all(old)
            with _disk_told(self._letters):
                await self._rebuild(held, self._held.segments)

    async def keep_beside(self, name: str, text: str | None) -> None:
        """Keep a text in an item of its own."""
        await self._lease.ensure()
        await self._texts.keep_beside(name, text)

    async def beside(self, name: str) -> str | None:
        """Return what is kept there under that name."""
        with damage_told(self._table.table):
            return await self._texts.beside(name)

    async def close(self) -> None:
        """Give both leases back."""
        await self._resources.aclose()

    async def _commit_run(self, run: RunRecord) -> None:
        await self._texts.commit_run(run, self._spread)
        self._held.record = run

    async def _commit_segments(self, changed: Mapping[int, SegmentRecord]) -> None:
        assert self._held.record is not None, "begin or resume first"
        run_id = self._held.record.run.run_id
        numbers = list(changed)
        for start in range(0, len(numbers), TRANSACT_ACTIONS_MAX - 1):
            part = numbers[start : start + TRANSACT_ACTIONS_MAX - 1]
            actions = [
                self._table.put_segment(
                    run_id, changed[number], self._held.segments[number].version, self._spread
                )
                for number in part
            ]
            await self._table.commit(actions)
            self._held.segments.update({number: changed[number] for number in part})

    async def _rebuild(self, run: RunRecord, segments: Mapping[int, SegmentRecord]) -> None:
        """Build this machine's copy from the table, and delete there what no record counts."""
        stale: list[Item] = []
        with self._letters.replacing() as write:
            async for letters in letters_of(self._table, run, segments):
                if letters.counted:
                    write(letters.text())
                else:
                    stale += letters.parts
        await self._table.delete_all(stale)


@contextmanager
def _disk_told(letters: DeadLetterFile) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PermanentError(
            f"{letters.path} can't be written ({error.strerror}); nothing more is acked:"
            " make room and run again"
        ) from error
