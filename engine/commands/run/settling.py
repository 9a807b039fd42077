"""From the way that was chosen to stages that go it: what is owed is written, what is settled is kept.

Invariant: before a worker begins, every key that was contested in an earlier part of the run has the item of
the row that wins it now, or a row that is still to be read makes it; only then is the new settlement kept.
"""

from dataclasses import replace
from pathlib import Path
from shutil import rmtree

from engine.commands.run import processes, settled_keys
from engine.commands.run.crew import Errand
from engine.commands.run.key_notes import checking
from engine.commands.run.key_pass import write_winners
from engine.commands.run.prepare import Prepared
from engine.commands.run.ways import Way, folder_of
from engine.commands.run.word import NOTES, held_to
from engine.contracts.state import RunState
from engine.errors import BackfillError
from engine.run.key_gate import KeyGate
from engine.run.settlement import Settlement
from engine.run.voice import Voice


async def put_to_work(prepared: Prepared, way: Way, state: RunState, voice: Voice) -> Prepared:
    """Return the stages as the way wants them, with all that goes before the first batch done."""
    folder = folder_of(prepared)
    if way.settled is None:
        if not state.interruptions:
            settled_keys.forget(folder)
        return (
            prepared if not way.in_order else replace(prepared, line=replace(prepared.line, gate=KeyGate()))
        )
    row_key = prepared.ends.source.ticket.schema.key
    if len(way.owed):
        owed = Settlement(way.owed.keys, way.owed.rows, row_key)
        await write_winners(prepared, [each.segment for each in state.segments], owed, voice)
    settled_keys.save(folder, state.run_id, way.settled)
    if not len(way.settled):
        return prepared
    settlement = Settlement(way.settled.keys, way.settled.rows, row_key)
    return replace(prepared, line=replace(prepared.line, settle=settlement.applied))


def notes_of(prepared: Prepared, way: Way, state: RunState) -> Path | None:
    """Return where the run notes what it writes, None where it doesn't: only a whole run has noted all."""
    return folder_of(prepared) / NOTES if way.said and not state.interruptions else None


def errand(prepared: Prepared, way: Way, state: RunState) -> Errand:
    """Return what the workers of the run do."""
    notes = notes_of(prepared, way, state)
    if notes is not None:
        rmtree(notes, ignore_errors=True)
        line, store = checking(prepared.ends, prepared.line, notes / "0")
        return Errand(line, store.flush, lambda boot, number: replace(boot, words=str(notes / str(number))))
    settled = str(folder_of(prepared)) if way.settled is not None and len(way.settled) else None

    def told(boot: processes.Boot, _: int) -> processes.Boot:
        return replace(boot, settled=settled, run_id=state.run_id)

    return Errand(prepared.line, None, told)


async def broken_word(
    prepared: Prepared, way: Way, state: RunState, workers: int | None, voice: Voice
) -> BackfillError | None:
    """Say of a run that has read everything why it isn't complete: the user's word didn't hold.

    `workers`: how many have noted what they wrote; None: one died, and its notes with it.
    """
    if not way.said:
        return None
    notes = notes_of(prepared, way, state)
    segments = [each.segment for each in state.segments]
    try:
        await held_to(prepared, segments, notes if workers else None, workers or 0, voice)
    except BackfillError as error:
        return error
    finally:
        if notes is not None:
            rmtree(notes, ignore_errors=True)
    return None
