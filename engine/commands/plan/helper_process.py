"""The work of a helper of `plan --full`: measures segments of the source.

Invariant: nothing is written but files that its order names.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np

from engine.commands.ends import open_ends
from engine.commands.hash_store import HashStore
from engine.commands.helping import help_with
from engine.commands.plan.collisions import NO_ROOM
from engine.commands.plan.measuring import Measuring, into
from engine.commands.plan.orders import FROM_HELPER, TO_HELPER, MeasureOrder, PlanBoot, SegmentMeasured
from engine.commands.told import source_heard
from engine.contracts.source import SourceTicket
from engine.job import handed
from engine.own_files import made
from engine.registry import TARGETS


async def measure_segment(stages: Measuring, order: MeasureOrder) -> SegmentMeasured:
    """Do an order."""
    directory = Path(order.directory)
    made(directory.parent, directory.name)
    tally, own = stages.tally(), stages.another()
    own.anew()
    if order.suspects is None:
        store = HashStore(directory, np.dtype(np.uint64), advice=NO_ROOM)
        await stages.read(order.segment, into(tally, own, store), in_full=True)
        await asyncio.to_thread(store.flush)
    else:
        keys = stages.key_counter(np.frombuffer(order.suspects, np.uint64))
        await stages.read(order.segment, keys.add, in_full=False)
        keys.keep(directory)
    return SegmentMeasured(order.number, tally.rows, tally.rules, tally.sizes.pairs, own.sums())


@asynccontextmanager
async def _opened(
    boot: PlanBoot, notice: Callable[[str], None]
) -> AsyncGenerator[Callable[[MeasureOrder], Awaitable[SegmentMeasured]], None]:
    job = handed.read(boot.job)
    info = TARGETS[job.target.type].info_from(boot.target)
    async with AsyncExitStack() as stack:
        opened = await open_ends(stack, job, ticket=SourceTicket.from_json(boot.ticket), target=info)
        await stack.enter_async_context(source_heard(lambda: opened.source, notice))
        yield partial(measure_segment, Measuring.of(opened, boot.by))


async def serve(descriptor: int) -> None:
    """Help until the command has gone."""
    await help_with(descriptor, _opened, says=FROM_HELPER, hears=TO_HELPER)
