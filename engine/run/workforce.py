"""Where the workers of a run come from while it goes on, and when one that is gone is gone for good."""

from typing import Protocol

from engine.run.link import RunnerEnd


class Workforce(Protocol):
    """The workers that there are and will be."""

    async def joining(self) -> RunnerEnd:
        """Return the next worker that joins; wait for as long as none does. Raises: PermanentError."""

    async def buried(self, link: RunnerEnd) -> str:
        """Wait until nothing can be applied any more that a worker whose link has ended has sent.

        Return what became of it, in words. Raises: PermanentError when the run has to end for it.
        """
