"""By what the rows that may make one item find each other, for whoever has to know which of them wins.

Invariant: where there is an answer, a reading with peers gives every row that makes a key of those asked for.
"""

from collections.abc import Sequence

from engine.commands.ends import Ends
from engine.contracts.source import Sharing
from engine.rules.peers import Untold, sharing_by_log, sharing_of


def sharing(ends: Ends) -> Sharing | Untold | None:
    """Say by which columns a job's source finds the rows that make one key; None: no two rows do."""
    if ends.proof.reason is None or ends.proof.said:
        return None
    found = sharing_of(ends.proof)
    if isinstance(found, Sharing) and ends.source.abilities.peers is None:
        reason = f"{ends.job.source.reads} can't be asked for rows by what they share"
        return Untold(reason, ends.proof.way_out)
    return found


def needed(ends: Ends) -> Sharing | Untold | None:
    """Say by what a catch-up run finds the rows that make the keys of changed ones; None: it needs no others.

    With mode insert what is there stays, so whoever makes it besides.
    """
    if ends.job.source.log is not None:
        return by_log(ends)
    return None if ends.job.target.mode == "insert" else sharing(ends)


def by_log(ends: Ends) -> Sharing | Untold | None:
    """Say the same of a run by the source's log, where rows are gone that others may come after."""
    if ends.proof.reason is None:
        return None
    if ends.job.target.compared is None:
        return sharing_by_log(ends.proof)
    if ends.proof.rows_told and ends.proof.said:
        return None
    say = ", or say source.unique: true if no element is twice in a row" if ends.proof.rows_told else ""
    return Untold(
        "with mode newer an item that a row has left behind takes none of a lower version",
        f"{ends.proof.way_out}{say}, or use mode put",
    )


def refusal(ends: Ends, untold: Untold) -> str:
    """Say why a catch-up run can't be, and what to do."""
    return (
        f"source.watermark: {ends.job.name} can't catch up, since several rows may make one item, and those"
        f" that make the items of changed rows can't be found ({untold.reason}): {untold.way_out}, or say"
        " source.unique: true if no two rows make one key, or load everything with --fresh"
    )


async def catching_up(ends: Ends) -> Sequence[str]:
    """Say what each catch-up run of a job reads besides, and what that costs, or why there will be none."""
    found = needed(ends) if ends.job.source.watched else None
    if found is None:
        return ()
    if isinstance(found, Untold):  # of a log the refusal is told where that is
        return () if ends.job.source.log is not None else (refusal(ends, found),)
    shared = " or ".join(" and ".join(names) for names in found.by)
    how = "" if ends.job.source.log is not None else " in order, by one cursor,"
    told = (
        f"Several rows may make one item, so each catch-up run reads{how} the rows that share {shared} with a"
        " changed one, too."
    )
    return (told, *await ends.source.abilities.peers_cost(found))
