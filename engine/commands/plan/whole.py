"""A plan's look at every row: exact counts, and every key that repeats, by hashes first and then by text.

Invariant: each segment is counted once, by this process or by a helper that has read it to its end.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from engine.batch import Segment
from engine.commands.ends import CURSORS
from engine.commands.hash_store import HashStore
from engine.commands.helpers import Todo, carry_out, helping
from engine.commands.plan.collisions import NO_ROOM, Collisions, suspected
from engine.commands.plan.measuring import Add, Measuring, into
from engine.commands.plan.orders import (
    FROM_HELPER,
    TO_HELPER,
    MeasureOrder,
    PlanBoot,
    PlanHelper,
    SegmentMeasured,
)
from engine.commands.plan.tally import Tally
from engine.commands.run.crew import crew
from engine.frozen import dataclass
from engine.job import handed

HELPER = "engine.commands.plan.helper_process"


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of the rows that were looked at."""

    tally: Tally
    collisions: Collisions


async def look_at_all(
    stages: Measuring,
    segments: Sequence[Segment],
    workers: int,
    say: Callable[[str], None],
) -> Seen:
    """Measure every row, by so many processes."""
    cursors_max = stages.source.ticket.cursors_max
    size = crew(max(1, min(workers, len(segments))), CURSORS, cursors_max)
    with TemporaryDirectory(prefix="backfill-plan-") as folder:
        async with _helped(stages, size.workers - 1, say) as helpers:
            return await _Look(stages, segments, helpers, size.cursors, Path(folder), say).everything()


@asynccontextmanager
async def _helped(
    stages: Measuring, others: int, say: Callable[[str], None]
) -> AsyncGenerator[list[PlanHelper], None]:
    opened = stages.opened

    async def boot() -> PlanBoot:
        return PlanBoot(
            handed.write(opened.job),
            opened.source.ticket.as_json(),
            opened.target.as_text(),
            stages.by,
        )

    async with helping(others, HELPER, boot, (TO_HELPER, FROM_HELPER), say) as helpers:
        yield helpers


class _Look:
    """One look at everything, with the help of others, whose files go into `folder`."""

    def __init__(
        self,
        stages: Measuring,
        segments: Sequence[Segment],
        helpers: Sequence[PlanHelper],
        cursors: int,
        folder: Path,
        say: Callable[[str], None],
    ) -> None:
        self._stages = stages
        self._segments = segments
        self._helpers = helpers
        self._cursors = cursors
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
            suspects.hashes.tofile(self._folder / "suspects")
            await self._pass(
                keys.add, lambda _, directory: keys.take_in(directory), self._folder / "suspects"
            )
        found = keys.collisions()
        beyond = Collisions(
            found.keys + suspects.keys_beyond, found.lost + suspects.lost_beyond, found.examples
        )
        return Seen(tally, beyond)

    async def _pass(
        self, add: Add, take_in: Callable[[SegmentMeasured, Path], None], suspects: Path | None
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
            named = None if suspects is None else str(suspects)
            take_in(await helper.ask(MeasureOrder(number, segment, str(directory), named)), directory)
            told()

        await carry_out(Todo(self._segments), here, self._helpers, there, self._cursors)
