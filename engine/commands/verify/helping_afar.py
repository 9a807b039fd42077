"""What a worker of another host does for `verify --full`: reads segments of sources, and scans the target.

It has no index: of each page that it scans it asks the command how its items stand there, by their hashes.

Invariant: nothing is kept here behind an order; an item itself never leaves this host, only its key does
where it is to be checked again.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import numpy as np

from engine.commands.helping_afar import CommandAfar, Do, Help
from engine.commands.run.dialling import Dial, alike
from engine.commands.verify.helper_process import Helping, open_to_help
from engine.commands.verify.key_patterns import KeyPatterns, patterns_from
from engine.commands.verify.opened_job import OpenedJob
from engine.commands.verify.orders import FROM_AFAR, TO_AFAR, BootAfar, PageHashes, PagePlaced
from engine.commands.verify.target_pass import ComparedItems, Placed, Scanning, looked_into
from engine.contracts.readback import Page
from engine.registry import TARGETS
from engine.run.greeting import JobTold
from engine.show import logs


class _HeldThere:
    """Holds pages against the command's index."""

    def __init__(self, job: OpenedJob, patterns: KeyPatterns, command: CommandAfar) -> None:
        self._job = job
        self._patterns = patterns
        self._command = command

    async def compared(self, number: int, page: Page) -> ComparedItems:
        """Compare a page of an order. Raises: ValueError when it can't be read."""
        hashes = await self._job.in_thread(page.digests)
        said: PagePlaced = await self._command.ask_back(
            PageHashes(number, hashes.keys.tobytes(), hashes.contents.tobytes())
        )
        placed = Placed(
            said.matched,
            said.kept,
            np.frombuffer(said.differing, np.int64),
            np.frombuffer(said.expected, np.uint64),
            np.frombuffer(said.row_ranges, np.uint32),
            np.frombuffer(said.unknown, np.int64),
        )
        return await self._job.in_thread(looked_into, page, hashes, placed, self._job.codec, self._patterns)


@asynccontextmanager
async def _opened(
    told: Sequence[JobTold], dial: Dial, boot: BootAfar, command: CommandAfar
) -> AsyncGenerator[Do, None]:
    async with AsyncExitStack() as stack:
        jobs = []
        for number, each in enumerate(told):
            job = await open_to_help(stack, number, alike(each, dial), command.note, each.ticket, each.target)
            if job.source.abilities.keep_view is not None:
                job.source.abilities.keep_view()  # another host's own view would be nobody's but its own
            jobs.append(job)
        logs.of_job(", ".join(job.job.name for job in jobs))
        first = jobs[0]
        reader = await TARGETS[first.job.target.type].open_reader(first.job, first.info, None, command.note)
        stack.push_async_callback(reader.close)
        held = _HeldThere(first, patterns_from(first.codec, boot.patterns), command)
        scanning = Scanning(reader, held.compared)
        yield Helping(jobs, reader, lambda _: scanning, durable=False).do


HELP = Help("the verification", says=FROM_AFAR, hears=TO_AFAR, opened=_opened)
