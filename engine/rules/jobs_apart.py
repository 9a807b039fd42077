"""Which jobs of a file may make the same items, so that the later has to come later. Pure.

Invariant: errs on the side of order. What isn't proved to differ counts as able to be equal.
"""

from collections.abc import Sequence

from engine.job.model import Job
from engine.rules.uniqueness import apart


def waits_for(jobs: Sequence[Job]) -> tuple[frozenset[int], ...]:
    """Return for each job those before it that must have ended when it begins.

    Of two jobs that make one item the later decides what it is, as if all ran one after the other. They are
    told apart by their targets, and by the texts that their templates begin and end with: nothing is known
    of their sources' columns before one is opened.
    """
    return tuple(
        frozenset(at for at, before in enumerate(jobs[:number]) if _may_meet(before, job))
        for number, job in enumerate(jobs)
    )


def _may_meet(first: Job, second: Job) -> bool:
    if not first.target.may_be(second.target):
        return False
    return any(not apart(one, other, {}) for one in first.items for other in second.items)
