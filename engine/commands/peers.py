"""By what the rows that may make one item find each other, for whoever has to know which of them wins.

Invariant: where there is an answer, a reading with peers gives every row that makes a key of those asked for.
"""

from engine.commands.ends import Ends
from engine.contracts.source import Sharing
from engine.rules.peers import Untold, sharing_of


def sharing(ends: Ends) -> Sharing | Untold | None:
    """Say by which columns a job's source finds the rows that make one key; None: no two rows do."""
    if ends.proof.reason is None or ends.proof.said:
        return None
    found = sharing_of(ends.proof)
    if isinstance(found, Sharing) and ends.source.abilities.peers is None:
        reason = f"{ends.job.source.reads} can't be asked for rows by what they share"
        return Untold(reason, ends.proof.way_out)
    return found
