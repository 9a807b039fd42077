"""The pass over keys that goes before a run whose keys aren't proved apart: which rows make one, who wins.

    rows ──▶ keys only ──▶ hashes on disk ──▶ met twice? ──▶ those rows once more, in full ──▶ winners

Nothing met twice is the usual end. What is met twice is read a second time as the run would, since an item
that can't be written wins nothing, and two keys with one hash aren't one.

Invariant: nothing is written to the target; what is found out holds for the view that the source keeps.
"""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.batch import Counts, DeadLetter, Effort, Mark, Segment
from engine.commands.ends import CURSORS
from engine.commands.hash_store import HashStore, Records
from engine.commands.run import processes
from engine.commands.run.contest import CONTESTED_MAX, NO_WINNERS, Winners, met_twice, settle
from engine.commands.run.crew import Crew, Errand, crew, working
from engine.commands.run.key_notes import CONTENDER, HASH, NO_ROOM, KeyNotes, Note, NotesOrder, noting
from engine.commands.run.prepare import Prepared
from engine.contracts.readback import Hashes
from engine.contracts.state import RunState
from engine.errors import PermanentError
from engine.events import Event, Notice, Tick
from engine.frozen import dataclass
from engine.meter import Meter
from engine.own_files import made
from engine.plain import dumped
from engine.run.coordinator import Coordinator
from engine.run.letters import LETTERS_WINDOW_BYTES, LetterWindow
from engine.run.settlement import Settlement
from engine.run.voice import Voice
from engine.tenure import Tenure

ROWS_IN_PROCESS = 500_000
"""Up to so many rows one process is done before others have started."""

TOLD_EVERY_S = 10.0


async def key_pass(
    prepared: Prepared, segments: Sequence[Segment], earlier: Winners, voice: Voice
) -> Winners | str:
    """Find out which row wins each key that is contested, or was before; or why that can't be told.

    Raises: what reading and encoding raise; ViewLost.
    """
    with _folder(prepared) as folder:
        reading = _KeyReading(prepared, segments, folder, voice)
        async with reading.noted(None) as store:
            found: list[Hashes] = [earlier.keys]
            count = 0
            async for together in ranges(store):
                found.append(await asyncio.to_thread(met_twice, together))
                count += len(found[-1])
                if count > CONTESTED_MAX:
                    return f"over {CONTESTED_MAX:,} keys are made by several rows"
    return await contested(prepared, segments, np.unique(np.concatenate(found)), earlier, voice)


async def contested(
    prepared: Prepared, segments: Sequence[Segment], suspects: Hashes, earlier: Winners, voice: Voice
) -> Winners | str:
    """Find out which of some keys several rows make, and who wins; or why that can't be told."""
    if not len(suspects):
        return NO_WINNERS
    keeps = prepared.ends.job.target.mode == "insert"
    winners = [NO_WINNERS]
    with _folder(prepared) as folder:
        suspects.tofile(folder / "suspects")
        async with _KeyReading(prepared, segments, folder, voice).noted(folder / "suspects") as store:
            async for together in ranges(store):
                some = await asyncio.to_thread(settle, together, first=keeps, always=earlier.keys)
                if isinstance(some, str):
                    return some
                winners.append(some)
    return Winners(
        np.concatenate([some.keys for some in winners]), np.concatenate([some.rows for some in winners])
    )


async def look_at(prepared: Prepared, segments: Sequence[Segment], note: Note, voice: Voice) -> None:
    """Have a look at everything that a run would write."""
    line = replace(
        prepared.line,
        target=KeyNotes(prepared.line.target, note),
        settle=None,
        meter=Meter(),
        letters=LetterWindow(LETTERS_WINDOW_BYTES),
    )
    reading = _KeyReading(prepared, segments, Path(), voice)
    size = crew(1, CURSORS, prepared.ends.source.ticket.cursors_max)
    await reading.read(size, Errand(line, None, lambda boot, _: boot), "looking for the rows that make it")


@contextmanager
def _folder(prepared: Prepared) -> Iterator[Path]:
    """Make a folder for notes beside the checkpoint, which goes when all is read."""
    folder = prepared.options.state_dir / prepared.ends.job.name / "keys"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield made(folder.parent, folder.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def write_winners(
    prepared: Prepared, segments: Sequence[Segment], settlement: Settlement, voice: Voice
) -> None:
    """Write the items of winners, wherever their rows are, and nothing else. They count nowhere.

    Raises: PermanentError when the target refuses one.
    """
    line = replace(prepared.line, settle=settlement.alone, meter=Meter())
    reading = _KeyReading(prepared, segments, Path(), voice)
    size = crew(1, CURSORS, prepared.ends.source.ticket.cursors_max)
    doing = f"writing {len(settlement):,} items of rows that win now and didn't when they were read"
    _, refused = await reading.read(size, Errand(line, None, lambda boot, _: boot), doing)
    if refused:
        raise PermanentError(
            f"the target refused an item that wins its key now: {refused[0].detail} (rule {refused[0].rule},"
            f" row {dict(refused[0].source_key)}); mend the row and run again"
        )


async def ranges(store: HashStore) -> AsyncGenerator[Records, None]:
    """Yield the ranges of `merged`, each made in a thread, so that a stop waits for one at most."""
    ranges: Iterator[Records] = store.merged()
    while (together := await asyncio.to_thread(next, ranges, None)) is not None:
        yield together


@dataclass(frozen=True, slots=True)
class _KeyReading:
    """Reads all segments, by a crew as a run has it."""

    prepared: Prepared
    segments: Sequence[Segment]
    folder: Path
    voice: Voice

    @asynccontextmanager
    async def noted(self, suspects: Path | None) -> AsyncGenerator[HashStore, None]:
        """Read everything once, and give what was noted."""
        prepared = self.prepared
        name = "all" if suspects is None else "some"
        order = NotesOrder(str(self.folder / name), None if suspects is None else str(suspects))
        wanted = 1 if self.rows <= ROWS_IN_PROCESS else min(prepared.workers, len(self.segments))
        size = crew(wanted, CURSORS, prepared.ends.source.ticket.cursors_max)

        def own(number: int) -> NotesOrder:
            return replace(order, directory=f"{order.directory}/{number}")

        line, notes = noting(prepared.ends, prepared.line, own(0))
        errand = Errand(
            line, notes.flush, lambda boot, number: replace(boot, notes=dumped(own(number))), replaces=False
        )
        again = "" if suspects is None else " that are made twice"
        counts, _ = await self.read(size, errand, f"looking at keys{again}")
        store = HashStore(Path(order.directory), HASH if suspects is None else CONTENDER, advice=NO_ROOM)
        for number in range(size.workers):
            store.adopt(Path(own(number).directory))
        if suspects is None and store.records < counts.items_written + counts.items_deleted:
            raise PermanentError("the pass over keys lost some of its notes; please report this as a bug")
        yield store

    async def read(self, size: Crew, errand: Errand, doing: str) -> tuple[Counts, Sequence[DeadLetter]]:
        """Carry all segments through a crew; return what was counted, and what the target refused."""
        prepared = self.prepared
        unkept = _Unkept(prepared.store.tenure)
        shown = _Shown(self.voice, doing, self.rows)
        coordinator = Coordinator(
            unkept,
            RunState.begun("keys", "full", self.segments),
            [shown],
            rate_max=prepared.ends.job.target.rate_max,
            own_usage=processes.usage,
        )
        shown.begun()
        async with working(prepared, size, errand, self.voice.warn) as crew:
            await coordinator.run(crew)
        if coordinator.fault is not None:
            assert coordinator.fault.error is not None, "a fault has an error"
            raise coordinator.fault.error
        assert coordinator.complete, f"segments are left though nothing failed: {coordinator.counts}"
        return coordinator.counts, unkept.refused

    @property
    def rows(self) -> int:
        """About how many rows there are; 0: unknown."""
        return sum(segment.rows_expected or 0 for segment in self.segments)


class _Unkept:
    """A store of marks for what no run is gone on with from."""

    def __init__(self, tenure: Tenure) -> None:
        self.tenure = tenure
        self.refused: list[DeadLetter] = []
        """What only the target found fault with."""

    async def advance(self, marks: Sequence[Mark], effort: Effort) -> None:
        """Forget them."""
        del effort
        letters = (letter for mark in marks for letter in mark.dead_letters)
        self.refused += (letter for letter in letters if letter.reason == "rejected_by_target")


class _Shown:
    """Tells how far the pass has come, now and then, and hands notices on."""

    def __init__(self, voice: Voice, doing: str, rows: int) -> None:
        self._voice = voice
        self._doing = doing
        self._of = f" of about {rows:,}" if rows else ""
        self._told_s = 0.0

    def begun(self) -> None:
        """Tell that it begins."""
        self._voice.say(self._doing)

    def on(self, event: Event) -> None:
        """Take note of one event."""
        match event:
            case Notice():
                self._voice.tell(event)
            case Tick() if event.elapsed_s - self._told_s >= TOLD_EVERY_S:
                self._told_s = event.elapsed_s
                self._voice.say(f"{self._doing}: {event.meter.rows_read:,}{self._of} rows")
            case _:
                pass
