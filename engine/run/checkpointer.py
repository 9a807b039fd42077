"""Makes marks durable, at most a second behind, while the target is the one that the run began with.

Invariant: a mark counts only once its checkpoint transaction is durable, and none does behind marks that are
lost. What marks hold is bounded: a worker whose dead letters no checkpoint has kept yet reads no further (see
letters.py).
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from engine.batch import Effort, Mark
from engine.contracts.state import MarkStore
from engine.run.letters import LETTERS_WINDOW_BYTES, weight
from engine.run.link import Finished, Kept, RunnerEnd
from engine.run.segments import Segments
from engine.run.target_watch import TargetWatch
from engine.run.worker import describe

CHECKPOINT_S = 1.0
"""How long marks may wait for their transaction: a second of work is what a crash costs at most."""

LETTERS_CHECKPOINT_BYTES = LETTERS_WINDOW_BYTES // 2
"""Dead letters that don't wait for the second to pass: their worker would soon have to."""

EFFORT_CHECKPOINT_S = 10.0
"""How often the effort alone is made durable while no mark comes."""

STOPPED_LOOK_S = 0.5
"""How long a look at the target may take once a stop was asked for: one that hangs mustn't hold it up."""


class Checkpointer:
    """Gathers the marks of all workers and keeps them. `fail` hears why nothing more can be kept."""

    def __init__(
        self,
        store: MarkStore,
        segments: Segments,
        target: TargetWatch,
        effort: Callable[[], Effort],
        fail: Callable[[Finished], None],
        stopping: asyncio.Event,
    ) -> None:
        self._store = store
        self._segments = segments
        self._target = target
        self._effort = effort
        self._fail = fail
        self._stopping = stopping
        self._marks: list[Mark] = []
        self._letters: Counter[RunnerEnd] = Counter()
        """Bytes of dead letters that wait for a checkpoint, by the link of the worker that found them."""
        self._due = asyncio.Event()
        self._over = False
        self._store_failed = False
        self.durable_at = time.monotonic()
        """When something was made durable last."""

    def gather(self, link: RunnerEnd, mark: Mark) -> None:
        """Take in a mark for the next checkpoint."""
        self._marks.append(mark)
        self._letters[link] += weight(mark.dead_letters)
        if self._letters[link] >= LETTERS_CHECKPOINT_BYTES:
            self._due.set()

    async def keep_on(self) -> None:
        """Checkpoint now and then, until `end`."""
        while not self._over:
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECKPOINT_S):
                    await self._due.wait()
            self._due.clear()
            await self.keep(force=time.monotonic() - self.durable_at > EFFORT_CHECKPOINT_S)

    def end(self) -> None:
        """Have `keep_on` return. A cancel would tear a transaction whose marks aren't listed any more."""
        self._over = True
        self._due.set()

    async def keep(self, *, force: bool) -> None:
        """Make the gathered marks durable; only then do they count. A store that failed isn't asked again."""
        marks, self._marks = self._marks, []
        letters, self._letters = self._letters, Counter()
        if self._store_failed or not (marks or force):
            if self._target.due:
                await self._same_target()
            return
        if not await self._same_target():
            return
        try:
            await self._store.advance(marks, self._effort())
        except Exception as error:  # a bug too: marks behind those that are gone must never be durable
            self._store_failed = True
            self._fail(describe(error))
            return
        self.durable_at = time.monotonic()
        self._segments.kept(marks)
        for link, nbytes in letters.items():
            if nbytes:
                link.send(Kept(nbytes))

    async def _same_target(self) -> bool:
        """Look whether the target is the same, after marks were taken: acks of another are worth nothing."""
        if await self._target.same(STOPPED_LOOK_S if self._stopping.is_set() else None):
            return True
        assert self._target.moved is not None
        self._fail(Finished(self._target.moved))
        return False
