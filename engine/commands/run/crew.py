"""The workers of a run, or of a pass over keys: how many there are, where they run, how they start and end.

Invariant: the first worker is this process, which works at once; the others are processes of their own, which
join when they have started, and none outlives its crew. What one that died was reading is given to others
only once it is reaped and nothing that it sent can be applied.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from signal import Signals
from typing import TYPE_CHECKING

from engine.commands.run import processes
from engine.commands.run.prepare import Prepared
from engine.commands.run.silence import silence_told
from engine.errors import PermanentError
from engine.frozen import dataclass
from engine.job import handed
from engine.run.beats import DialledIn
from engine.run.link import RunnerEnd, ToRunner, ToWorker, queue_link
from engine.run.pipeline import Stages
from engine.run.worker import Usage, work
from engine.tasks import ended

if TYPE_CHECKING:
    from engine.commands.run.afar import Afar
    from engine.commands.run.listening import Candidate

REPLACED_MAX = 3
"""So many processes of a run are replaced when they die: more don't die by chance."""


@dataclass(frozen=True, slots=True)
class Crew:
    """How many workers there are, and how many cursors each has."""

    workers: int
    cursors: int


def crew(workers: int, cursors: int, cursors_max: int | None) -> Crew:
    """Return the crew that a source has room for; workers go before cursors."""
    if cursors_max is None:
        return Crew(workers, cursors)
    workers = min(workers, cursors_max)
    return Crew(workers, min(cursors, cursors_max // workers))


@dataclass(frozen=True, slots=True)
class Errand:
    """What a crew is to do besides carrying segments.

    `line` what the worker in this process passes batches through, and `at_end` what it does behind the last;
    `told` names the same for a process by its number: see Boot's `notes` and `settled`. `replaces`: whether
    the work goes on with another one when a process dies; not where what it has noted is gone with it.
    """

    line: Stages
    at_end: Callable[[], None] | None
    told: Callable[[processes.Boot, int], processes.Boot]
    replaces: bool = True


class WorkingCrew:
    """The workers of one run; see Workforce. `warn` tells the user."""

    def __init__(
        self,
        prepared: Prepared,
        size: Crew,
        errand: Errand,
        warn: Callable[[str], None],
        afar: "Afar | None" = None,
    ) -> None:
        self._prepared = prepared
        self._size = size
        self._errand = errand
        self._warn = warn
        self._afar = afar
        self._vacant: asyncio.Queue[int | Candidate] = asyncio.Queue()
        """Places to be taken here, and workers of other hosts that have dialled in."""
        for number in range(size.workers):
            self._vacant.put_nowait(number)
        self._own: asyncio.Task[None] | None = None
        self._processes: dict[RunnerEnd, processes.WorkerProcess[ToRunner, processes.Boot | ToWorker]] = {}
        self._watching: set[asyncio.Task[None]] = set()
        self.replaced = 0
        """How many processes have died, and were replaced."""

    async def joining(self) -> RunnerEnd:
        """Return the next worker: this process first, then one more process each time, and who dials in.

        Raises: PermanentError.
        """
        while True:
            next_one = await self._next()
            if isinstance(next_one, int):
                return await self._start(next_one) if next_one else self._begin()
            assert self._afar is not None, "nobody else dials in"
            try:
                link = await self._afar.admit(next_one)
            except asyncio.CancelledError:  # the run is over: it is told so
                self._vacant.put_nowait(next_one)
                raise
            if link is not None:
                return link

    async def _next(self) -> "int | Candidate":
        if self._size.workers or self._afar is None:
            return await self._vacant.get()
        return await self._afar.next_of(self._vacant)

    async def let_in(self) -> None:
        """Have those join that dial in, for as long as the run lasts."""
        while self._afar is not None:
            self._vacant.put_nowait(await self._afar.line.get())

    def _begin(self) -> RunnerEnd:
        """Begin to work in this process."""
        ours, theirs = queue_link()
        line = self._errand.line
        told = len(line.source.notices)
        self._own = asyncio.create_task(
            work(line, theirs, self._size.cursors, _counted_by_runner, told, self._errand.at_end)
        )
        return ours

    async def _start(self, number: int) -> RunnerEnd:
        prepared = self._prepared
        boot = processes.Boot(
            handed.write(prepared.ends.job),
            prepared.ends.source.ticket.as_json(),
            prepared.ends.target.as_text(),
            cursors=self._size.cursors,
            credentials=await prepared.ends.connector.hand_over(),
            lease_end_s=prepared.store.tenure.end_s,
        )
        try:
            started = await processes.spawn(self._errand.told(boot, number), prepared.store.lease_fd)
        except OSError as error:
            raise PermanentError(
                f"a worker process can't be started ({error.strerror}): make room, or take fewer --workers"
            ) from error
        self._processes[started.link] = started
        watching = asyncio.create_task(silence_told(started, "the worker process", self._waits, self._warn))
        self._watching.add(watching)
        watching.add_done_callback(self._watching.discard)
        return started.link

    async def buried(self, link: RunnerEnd) -> str:
        """Reap a process, have another one take its place, and wait while its requests may be applied.

        Raises: PermanentError when too many have died, or none can be replaced.
        """
        if isinstance(link, DialledIn):
            return await link.buried()
        worker = self._processes.pop(link)
        await worker.end()
        how = _ending(worker.process.returncode)
        before = f", as did {self.replaced} before it" if self.replaced else ""
        if not self._replaces:
            raise PermanentError(
                f"a worker process died ({how}){before}; nothing acked is lost: run the same command to go on"
            )
        self._vacant.put_nowait(self._size.workers + self.replaced)
        self.replaced += 1
        self._warn(
            f"a worker process died ({how}){before}; another one takes its place ({self.replaced} of"
            f" {REPLACED_MAX}), and what it was reading is read on from its last mark"
        )
        await asyncio.sleep(self._prepared.ends.connector.abilities.late_s)
        return how

    @property
    def _replaces(self) -> bool:
        """Whether the next one that dies is replaced."""
        return self._errand.replaces and self.replaced < REPLACED_MAX

    def _waits(self) -> str:
        if self._replaces:
            return "what it is reading waits for it, and is read on by another one if it is killed"
        return "what it is reading waits for it; if it is killed this ends, to be gone on with"

    async def end(self) -> None:
        """See that no worker is left."""
        await ended(self._own, *self._watching)
        await asyncio.gather(*(worker.end() for worker in self._processes.values()))
        if self._afar is not None:
            while not self._vacant.empty():
                if not isinstance(late := self._vacant.get_nowait(), int):
                    self._afar.line.put_nowait(late)
            await self._afar.end()


@asynccontextmanager
async def working(
    prepared: Prepared,
    size: Crew,
    errand: Errand,
    warn: Callable[[str], None],
    afar: "Afar | None" = None,
) -> AsyncGenerator[WorkingCrew, None]:
    """Have a crew work, with workers of other hosts where there are any, and see that none of it is left."""
    made = WorkingCrew(prepared, size, errand, warn, afar)
    letting_in = asyncio.create_task(made.let_in())
    try:
        yield made
    finally:
        await ended(letting_in)
        await made.end()


def _ending(code: int | None) -> str:
    """Say how a process has ended."""
    assert code is not None, "it is reaped"
    return f"exit code {code}" if code >= 0 else f"killed by {Signals(-code).name}"


def _counted_by_runner() -> Usage:
    return Usage(0.0, 0)
