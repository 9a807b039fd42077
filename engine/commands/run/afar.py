"""The workers of other hosts that take part in one run.

Invariant: before the first of them is given anything it is durable that others may write; that is taken back
only when nothing of any of them can come any more.
"""

import asyncio
from typing import TYPE_CHECKING, TypeVar

from engine.commands.ends import CURSORS
from engine.commands.run.listening import Candidate, Listener
from engine.commands.run.prepare import Prepared
from engine.commands.run.waiting import next_of
from engine.errors import BackfillError
from engine.job import handed
from engine.job.hook import source_digest
from engine.run import beats
from engine.run.beats import DialledIn
from engine.run.greeting import Welcome
from engine.run.voice import Voice
from engine.state import beside

if TYPE_CHECKING:
    from engine.commands.run.crew import Crew

_Next = TypeVar("_Next")

NOTED_MAX = 100
"""Sentences about workers that come and go of which the report keeps so many."""


class Afar:
    """Takes workers into a run."""

    def __init__(self, prepared: Prepared, listener: Listener, voice: Voice) -> None:
        self.line = listener.line
        self._at = str(listener.at)
        self._prepared = prepared
        self._voice = voice
        self._cursors_left = prepared.ends.source.ticket.cursors_max
        """How many may read here; None: as many as come."""
        self._told = 0
        job = prepared.ends.job
        self._parts = {part: prepared.prints[part] for part in job.fingerprint_parts()}
        self._hook = source_digest(job.hook, job.directory) if job.hook else None
        """Of now: what the hook's file becomes is nothing to those who join later."""
        self._links: list[DialledIn] = []

    def leave_room_for(self, size: "Crew") -> None:
        """Leave the runner's own workers what they read by."""
        if self._cursors_left is not None:
            self._cursors_left -= size.workers * size.cursors

    async def next_of(self, queue: "asyncio.Queue[_Next]") -> _Next:
        """Return the next of a queue, for a run that reads nothing itself. Raises: PermanentError."""
        return await next_of(
            queue, lambda: any(link.there for link in self._links), self._voice.say, self._at
        )

    async def admit(self, candidate: Candidate) -> DialledIn | None:
        """Tell a worker what to do; None where there is no room for it, or it is gone."""
        if candidate.gone:
            return None
        cursors = CURSORS if self._cursors_left is None else min(CURSORS, self._cursors_left)
        if cursors < 1:
            await candidate.sent_home(
                "the source lets no more than those read who do (source.max_connections)"
            )
            return None
        if self._cursors_left is not None:
            self._cursors_left -= cursors
        prepared = self._prepared
        ends, late_s = prepared.ends, prepared.ends.connector.abilities.late_s
        await beside.keep_elsewhere(prepared.store, beats.wait_s(late_s))
        wire = candidate.welcomed(
            Welcome(
                job=handed.as_written(ends.job),
                parts=self._parts,
                hook=self._hook,
                ticket=ends.source.ticket.as_json(),
                target=ends.target.as_text(),
                cursors=cursors,
                silence_s=beats.SILENCE_S,
            )
        )
        self.tell(f"the worker {candidate.name} joins")
        link = DialledIn(wire, candidate.name, prepared.store.tenure, late_s, self._warn)
        self._links.append(link)
        return link

    async def end(self) -> None:
        """Hang up, and take back that others may write, if none can."""
        for link in self._links:
            await link.close()
        if self._links and all(link.settled for link in self._links):
            try:
                await beside.keep_elsewhere(self._prepared.store, None)
            except BackfillError as error:  # whoever comes next waits without need
                self._warn(str(error))

    def tell(self, text: str) -> None:
        """Say what the report keeps, as long as it isn't too much."""
        self._told += 1
        (self._voice.note if self._told <= NOTED_MAX else self._voice.say)(text)

    def _warn(self, text: str) -> None:
        self._told += 1
        (self._voice.warn if self._told <= NOTED_MAX else self._voice.say)(text)
