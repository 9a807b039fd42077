"""What a worker of another host does for `plan --full`: measures segments of the source, as it is told to.

Invariant: nothing is written but files in directories that are gone with their orders.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from engine.commands.helping_afar import CommandAfar, Do, Help
from engine.commands.plan.helper_process import measure_segment
from engine.commands.plan.measuring import Measuring
from engine.commands.plan.orders import FROM_AFAR, TO_AFAR, PlanBootAfar
from engine.commands.run.dialling import Dial, opened_alike
from engine.commands.told import source_heard
from engine.run.greeting import JobTold


@asynccontextmanager
async def _opened(
    jobs: Sequence[JobTold], dial: Dial, boot: PlanBootAfar, command: CommandAfar
) -> AsyncGenerator[Do, None]:
    async with AsyncExitStack() as stack:
        opened = await opened_alike(stack, jobs[0], dial)
        await stack.enter_async_context(source_heard(lambda: opened.source, command.note))
        yield partial(measure_segment, Measuring.of(opened, boot.by))


HELP = Help("the plan", says=FROM_AFAR, hears=TO_AFAR, opened=_opened)
