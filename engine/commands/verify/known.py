"""What earlier runs have left behind that a verification must know.

Invariant: reads what runs keep, changes nothing, and needs none of it to be there.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from engine.commands import ends
from engine.commands.verify.desk import Desk
from engine.commands.verify.digests import key_hashes
from engine.errors import BackfillError, JobError
from engine.state.dead_letters import FILE_NAME, read
from engine.state.file import STATE_NAME, read_state
from engine.state.fingerprint import fingerprint, same_target
from engine.state.former import former_rules


async def former(desk: Desk, state_dir: Path, notice: Callable[[str], None]) -> tuple[str, ...]:
    """Return the rules of a job's runs so far that make keys which today's rules don't."""
    try:
        state = await ends.read_state(desk.job, state_dir)
    except BackfillError as error:
        notice(f"what earlier runs wrote isn't known, so items of earlier keys aren't looked for: {error}")
        return ()
    table = fingerprint({}, {}, desk.table.identity)
    return (
        ()
        if state is None or not same_target(state.fingerprint, table)
        else former_rules(state, desk.job.items)
    )


def others(desks: Sequence[Desk], state_dir: Path) -> tuple[str, ...]:
    """Return the rules of other jobs whose runs, kept in the same directory, loaded the same table."""
    ours = {desk.job.name for desk in desks}
    table = fingerprint({}, {}, desks[0].table.identity)
    rules = []
    for path in sorted(state_dir.glob(f"*/{STATE_NAME}")):
        name = path.parent.name
        if name in ours:
            continue
        try:
            state = read_state(state_dir, name)
        except JobError:  # damaged: its own commands tell
            continue
        if state is not None and state.rules is not None and same_target(state.fingerprint, table):
            rules.append(state.rules)
    return tuple(rules)


def rejected(desks: Sequence[Desk], state_dir: Path) -> frozenset[int]:
    """Return the hashes of the keys that runs have tried and the target has refused."""
    hashes: set[int] = set()
    schema = desks[0].schema
    for desk in desks:
        for line in read(state_dir / desk.job.name / FILE_NAME):
            if line.reason == "rejected_by_target" and line.item and schema.fits(line.item):
                hashes.add(int(key_hashes([line.item], schema)[0]))
    return frozenset(hashes)
