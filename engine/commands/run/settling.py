"""From the way that was chosen to stages that go it: what is owed is written, what is settled is kept.

Invariant: before a worker begins, every key that was contested in an earlier part of the run has the item of
the row that wins it now, or a row that is still to be read makes it; only then is the new settlement kept.
"""

from dataclasses import replace

from engine.commands.run import processes, settled_keys
from engine.commands.run.crew import Errand
from engine.commands.run.key_pass import write_winners
from engine.commands.run.prepare import Prepared
from engine.commands.run.ways import Way, folder_of
from engine.contracts.state import RunState
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


def errand(prepared: Prepared, way: Way, run_id: str) -> Errand:
    """Return what the workers of the run do."""
    settled = str(folder_of(prepared)) if way.settled is not None and len(way.settled) else None

    def told(boot: processes.Boot, _: int) -> processes.Boot:
        return replace(boot, settled=settled, run_id=run_id)

    return Errand(prepared.line, None, told)
