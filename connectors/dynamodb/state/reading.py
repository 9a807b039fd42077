"""A job's state as it stands in a DynamoDB table, read whole: by its holder, and by whoever only looks.

Invariant: what is read is the latest run with every one of its segments, or an error that says what is wrong.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from itertools import groupby

from connectors.dynamodb.http.session import open_session
from connectors.dynamodb.state import letters as letter_items
from connectors.dynamodb.state.section import DynamoDBStateSection
from connectors.dynamodb.state.still import joined
from connectors.dynamodb.state.table import STILL_VERSION, Item, StateTable, called_state, run_key
from connectors.dynamodb.state.texts import TEXT, read_text
from connectors.dynamodb.table import describe
from engine.contracts.state import RunState
from engine.errors import JobError
from engine.frozen import dataclass
from engine.state import records
from engine.state.dead_letters import count_in
from engine.state.records import Damaged, RunRecord, SegmentRecord

LOOKS = 3
"""How often a state is read that seems damaged: it is moved while it is looked at, too."""


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest run. `spread`: below how many partition keys its segments lie."""

    run: RunRecord
    segments: dict[int, SegmentRecord]
    spread: int


@dataclass(frozen=True, slots=True)
class Letters:
    """The letters of one version of a segment. `counted`: the records say that they are part of the run."""

    parts: list[Item]
    counted: bool

    def text(self) -> bytes:
        """Return the lines."""
        return letter_items.unpacked(self.parts)


async def read(table: StateTable) -> Latest | None:
    """Return the latest run; None when there is none. Raises: JobError (damaged, or of a newer version)."""
    for look in range(1, LOOKS + 1):
        item = await table.get("RUN")
        if item is None:
            return None
        with damage_told(table.table):
            try:
                return await _whole(table, item)
            except Damaged:  # whoever has the lease may just have begun another run
                if look == LOOKS:
                    raise
    raise AssertionError("the last look returns or raises")


async def _whole(table: StateTable, item: Item) -> Latest:
    version = int(item["version"]["N"])
    if version > STILL_VERSION:
        raise JobError(
            f"the checkpoint in {table.table} was written by a newer backfill (state version {version},"
            f" this one reads {STILL_VERSION}): install that version again, or start over with --fresh"
        )
    run = await read_run(table, item)
    spread = int(item["spread"]["N"]) if "spread" in item else 1  # earlier versions know one key only
    items = await table.segments(run.run.run_id, spread)
    segments = [records.read_segment(each["record"]["S"]) for each in items]
    return Latest(run, records.checked(run, segments), spread)


async def read_run(table: StateTable, item: Item) -> RunRecord:
    """Return the record of a run's item, with what that refers to. Raises: Damaged, KeyError, ValueError."""
    record = records.read_run(item["record"]["S"])
    if "still" not in item:
        return record
    return joined(
        record, await read_text(table, run_key(table.job, record.run.run_id), TEXT, item["still"]["S"])
    )


async def letters_of(
    table: StateTable, run: RunRecord, segments: Mapping[int, SegmentRecord]
) -> AsyncGenerator[Letters, None]:
    """Yield all dead letters that are in force for a run, those of the runs before it too."""
    for run_id in run.letters_of:
        items = [item async for item in table.of_run(run_id, "LETTERS#")]
        for (number, version), parts in groupby(items, letter_items.segment_and_version):
            segment = segments.get(number) if run_id == run.run.run_id else None
            counted = segment is None or segment.restarted_at < version <= segment.version
            yield Letters(list(parts), counted)


async def read_state(section: DynamoDBStateSection, job_name: str) -> RunState | None:
    """Return a job's latest run without its lease, also while it is alive; None when it never ran."""
    async with _looked_at(section, job_name) as table:
        latest = None if table is None else await read(table)
    return None if latest is None else records.whole(latest.run, latest.segments.values())


async def letters_open(section: DynamoDBStateSection, job_name: str) -> int:
    """Return how many dead letters are kept in the table, as far as its records count them."""
    async with _looked_at(section, job_name) as table:
        latest = None if table is None else await read(table)
        if table is None or latest is None:
            return 0
        found = letters_of(table, latest.run, latest.segments)
        kept = [letters async for letters in found if letters.counted]
    return sum(count_in(letters.text().splitlines()) for letters in kept)


@contextmanager
def damage_told(table: str) -> Iterator[None]:
    """Turn what a damaged state raises into one sentence. Raises: JobError."""
    try:
        yield
    except (Damaged, KeyError, ValueError) as error:
        raise JobError(
            f"the checkpoint in the state table {table} is damaged ({error}): restore the table, or start"
            " over with --fresh"
        ) from error


@asynccontextmanager
async def _looked_at(section: DynamoDBStateSection, job_name: str) -> AsyncGenerator[StateTable | None, None]:
    """Open a job's part of the table to look at it; None where there is no table."""
    target = section.as_target()
    with called_state():
        if await describe(target) is None:
            yield None
            return
        session = await open_session(target)
    async with session.calls() as call:
        yield StateTable(call, section.table, job_name)
