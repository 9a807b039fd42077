"""What the server keeps of its log for jobs, as a clause for people: how much, and for which of them.

Invariant: the job that holds the log back is named, whichever job was asked about.
"""

from collections.abc import Sequence

from connectors.postgres.errors import speaking
from connectors.postgres.section import PostgresSection
from connectors.postgres.session import abandon, connect
from connectors.postgres.settings import looking
from connectors.postgres.slot_reading import number_of
from connectors.postgres.slots import log_position, slot_of
from engine.amounts import bytes_text
from engine.contracts.feed import LogUser


async def standing(section: PostgresSection, users: Sequence[LogUser]) -> tuple[str, int | None]:
    """Say what the server keeps for jobs that share a slot, and how many bytes that is; None: nothing.

    Raises: what asking the server raises.
    """
    assert section.catch_up is not None, "only for a job that goes by the log is something kept"
    name = section.catch_up.slot
    connection = await connect(section.url.get_secret_value())
    try:
        async with speaking("source.catch_up"):
            async with looking(connection):
                slot = await slot_of(connection, name)
            now = await log_position(connection)
    finally:
        await abandon(connection)
    kept, end = None if slot is None else slot.held_back, None if now is None else number_of(now)
    return told(name, kept, end, users), kept


def told(slot: str, kept: int | None, end: int | None, users: Sequence[LogUser]) -> str:
    """Say it. Units: `kept` in bytes, None where there is no slot; `end` of the log, None on a standby."""
    names = ", ".join(user.name for user in users)
    whom = "this job" if len(users) == 1 else names
    if kept is None:
        return f"the source keeps nothing of its log for {whom}: there is no {slot}"
    text = f"the source keeps {bytes_text(kept)} of its log for {whom} ({slot})"
    if len(users) == 1 or end is None:
        return text
    behind = {user.name: end - number_of(user.position) for user in users if user.position is not None}
    each = [
        f"{name} is {bytes_text(max(0, by))} behind{', which is what it is kept for' if not number else ''}"
        for number, (name, by) in enumerate(sorted(behind.items(), key=lambda found: -found[1]))
    ]
    each += [f"{user.name} can't be told" for user in users if not user.known]
    each += [
        f"{user.name} has no full run here, and nothing waits for it"
        for user in users
        if user.known and user.position is None
    ]
    return f"{text}; {'; '.join(each)}"
