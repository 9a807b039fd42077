"""Whose an error is: of several jobs in one file each has a source, a target and an `items[0]`.

Invariant: the innermost name stands; an error keeps its type and its cause.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engine.errors import BackfillError

if TYPE_CHECKING:
    from engine.job.model import Job


@contextmanager
def fault_of(*jobs: "Job") -> Iterator[None]:
    """Note whose an error is, unless it is known already."""
    try:
        yield
    except BackfillError as error:
        error.job = error.job or ", ".join(job.name for job in jobs)
        raise


@contextmanager
def job_named(*jobs: "Job", among: int) -> Iterator[None]:
    """Say in an error whose it is, if it may be that of several jobs."""
    try:
        with fault_of(*jobs):
            yield
    except BackfillError as error:
        if among > 1:
            error.args = (f"{error.job}: {error}",)
        raise
