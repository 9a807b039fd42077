"""A plan's look at every row: exact counts, and every key that repeats, by hashes first and then by text.

Invariant: each segment is counted once, by this process or by a helper that has read it to its end.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from engine.batch import Segment
from engine.commands.ends import CURSORS
from engine.commands.hash_probe import probe
from engine.commands.hash_store import HashStore
from engine.commands.helper_processes import helping
from engine.commands.helpers import Helpers, Todo, carry_out
from engine.commands.plan.collisions import NO_ROOM, Collisions, suspected
from engine.commands.plan.measuring import Add, Measuring, into
from engine.commands.plan.orders import (
    FROM_AFAR,
    FROM_HELPER,
    TO_AFAR,
    TO_HELPER,
    MeasureOrder,
    PlanBoot,
    PlanBootAfar,
    PlanHelper,
    PlanHelpers,
    SegmentMeasured,
)
from engine.commands.plan.tally import Tally
from engine.commands.run.crew import Crew, crew
from engine.commands.run.door import NOT_PLACED, Door
from engine.frozen import dataclass
from engine.job import handed
from engine.run.echoes import Once

HELPER = "engine.commands.plan.helper_process"


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of the rows that were looked at."""

    tally: Tally
    collisions: Collisions


@dataclass(frozen=True, slots=True)
class Lookers:
    """How many processes look `here`, 0: none but those of other hosts, and how many a cluster is to have.

    With `asks` it is asked for those for whom nothing is free.
    """

    here: int
    placed: int = 0
    asks: bool = False


async def look_at_all(
    stages: Measuring,
    segments: Sequence[Segment],
    lookers: Lookers,
    say: Callable[[str], None],
    door: Door | None = None,
) -> Seen:
    """Measure every row, by so many processes, and those that come to the door."""
    cursors_max = stages.source.ticket.cursors_max
    size = Crew(0, 0)
    if lookers.here:
        size = crew(min(lookers.here, max(1, len(segments))), CURSORS, cursors_max)
    if door is not None and door.cluster is not None:
        if lookers.placed:
            door.place([stages.opened.job], lookers.placed, asks=lookers.asks)
        else:
            say(NOT_PLACED)
    with TemporaryDirectory(prefix="backfill-plan-") as folder:
        async with _helped(stages, size, say, door) as helpers:
            return await _Look(stages, segments, helpers, Path(folder), say).everything()


@asynccontextmanager
async def _helped(
    stages: Measuring, size: Crew, say: Callable[[str], None], door: Door | None
) -> AsyncGenerator[PlanHelpers, None]:
    opened = stages.opened
    helpers: PlanHelpers = Helpers(size.cursors, say, "" if door is None else door.at)

    async def boot() -> PlanBoot:
        return PlanBoot(
            handed.write(opened.job),
            opened.source.ticket.as_json(),
            opened.target.as_text(),
            stages.by,
        )

    async with AsyncExitStack() as stack:
        others = max(0, size.workers - 1)
        await stack.enter_async_context(
            helping(others, HELPER, boot, (TO_HELPER, FROM_HELPER), Once(say), helpers)
        )
        if door is not None:
            await stack.enter_async_context(_called(stages, size, door, helpers, say))
        yield helpers


def _called(
    stages: Measuring, size: Crew, door: Door, helpers: PlanHelpers, say: Callable[[str], None]
) -> AbstractAsyncContextManager[None]:
    """Have workers of other hosts measure, too; what a load costs is reckoned here."""
    from engine.commands.helpers_afar import CallAfar, called  # with what encrypts
    from engine.commands.run.listening import job_told

    opened = stages.opened
    call = CallAfar(
        "plan",
        (job_told(opened.job, opened.job.fingerprint_parts(), opened.source.ticket, opened.target),),
        PlanBootAfar(probe(), replace(stages.by, prices=None)),
        says=TO_AFAR,
        hears=FROM_AFAR,
        cursors=CURSORS,
        cursors_max=opened.source.ticket.cursors_max,
        here=size.workers * size.cursors,
        advice=NO_ROOM,
    )
    return called(call, door, helpers, say)


class _Look:
    """One look at everything, with the help of others, whose files go into `folder`."""

    def __init__(
        self,
        stages: Measuring,
        segments: Sequence[Segment],
        helpers: PlanHelpers,
        folder: Path,
        say: Callable[[str], None],
    ) -> None:
        self._stages = stages
        self._segments = segments
        self._helpers = helpers
        self._folder = folder
        self._say = say
        self._numbers = itertools.count()

    async def everything(self) -> Seen:
        """Look."""
        stages = self._stages
        tally, measurer = stages.tally(), stages.measurer
        measurer.anew()
        (hashes := self._folder / "hashes").mkdir()
        store = HashStore(hashes, np.dtype(np.uint64), advice=NO_ROOM)

        def take_in(found: SegmentMeasured, directory: Path) -> None:
            tally.take_in(found.rows, found.rules, found.sizes)
            measurer.take_in(found.own)
            store.adopt(directory)

        await self._pass(into(tally, measurer, store), take_in, None)
        suspects = await asyncio.to_thread(suspected, store)
        keys = stages.key_counter(suspects.hashes)
        if len(suspects.hashes):
            count = f"{len(suspects.hashes):,} keys are"
            self._say(f"{count} suspected of repeating: reading again to compare their texts")
            await self._pass(
                keys.add, lambda _, directory: keys.take_in(directory), suspects.hashes.tobytes()
            )
        found = keys.collisions()
        beyond = Collisions(
            found.keys + suspects.keys_beyond, found.lost + suspects.lost_beyond, found.examples
        )
        return Seen(tally, beyond)

    async def _pass(
        self, add: Add, take_in: Callable[[SegmentMeasured, Path], None], suspects: bytes | None
    ) -> None:
        """Read and measure every segment, several side by side; only the keys of `suspects`, if there are."""
        done = 0

        def told() -> None:
            nonlocal done
            done += 1
            self._say(f"{done} of {len(self._segments)} segments read")

        async def here(segment: Segment) -> None:
            await self._stages.read(segment, add, in_full=suspects is None)
            told()

        async def there(helper: PlanHelper, segment: Segment) -> None:
            number = next(self._numbers)
            directory = self._folder / str(number)
            take_in(await helper.ask(MeasureOrder(number, segment, str(directory), suspects)), directory)
            told()

        await carry_out(Todo(self._segments), here, self._helpers, there)
