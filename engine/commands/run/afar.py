"""The workers of other hosts that take part in one run.

Invariant: before the first of them is given anything it is durable that others may write; that is taken back
only when nothing of any of them can come any more.
"""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from engine.commands.ends import CURSORS
from engine.commands.run.door import NOT_PLACED, Door
from engine.commands.run.listening import Candidate, job_told
from engine.commands.run.prepare import Prepared
from engine.commands.run.views import SecondKeeper
from engine.commands.run.waiting import next_of
from engine.errors import BackfillError
from engine.run import beats
from engine.run.beats import DialledIn
from engine.run.greeting import Welcome
from engine.run.voice import Voice
from engine.state import beside
from engine.state.beside import KeptView

if TYPE_CHECKING:
    from engine.commands.run.crew import Crew

_Next = TypeVar("_Next")

NOTED_MAX = 100
"""Sentences about workers that come and go of which the report keeps so many."""


class Afar:
    """Takes workers into a run."""

    def __init__(self, prepared: Prepared, door: Door, voice: Voice, view: KeptView) -> None:
        self.line = door.listener.line
        self._door = door
        self._at = str(door.listener.at)
        self._prepared = prepared
        self._voice = voice
        self._cursors_own = 0
        self._told = 0
        ends = prepared.ends
        parts = {part: prepared.prints[part] for part in ends.job.fingerprint_parts()}
        self._job = job_told(ends.job, parts, ends.source.ticket, ends.target)
        self._links: list[DialledIn] = []
        self._cursors: dict[DialledIn, int] = {}
        """How many each of them reads by."""
        held = ends.source.abilities.hold_view is not None and bool(view.names)
        self._keeper = SecondKeeper(prepared.store, view, self._has_room, voice.say) if held else None
        self._keeping = 0
        """How many places the second keeper takes."""

    def leave_room_for(self, size: "Crew") -> None:
        """Leave the runner's own workers what they read by."""
        self._cursors_own = size.workers * size.cursors

    @property
    def _cursors_left(self) -> int | None:
        """How many more may read; None: as many as come. Those of a worker that is buried are free again."""
        most = self._prepared.ends.source.ticket.cursors_max
        if most is None:
            return None
        taken = [count for link, count in self._cursors.items() if link.there or not link.settled]
        return most - self._cursors_own - self._keeping - sum(taken)

    def _has_room(self) -> bool:
        """Take a place for whoever keeps the view; reading goes before keeping."""
        left = self._cursors_left
        if left is not None and not self._keeping:
            self._keeping = int(left > 0)
        return left is None or bool(self._keeping)

    def place(self, open_segments: int) -> None:
        """Have workers placed on the cluster, if there is one; never more than have something to read."""
        if self._door.cluster is None:
            return
        workers = min(self._prepared.placed, open_segments)
        if self._cursors_left is not None:
            workers = min(workers, self._cursors_left)
        if workers < 1:
            self.tell(NOT_PLACED)
            return
        self._door.place([self._prepared.ends.job], workers, asks=self._prepared.options.workers is not None)

    async def next_of(self, queue: "asyncio.Queue[_Next]") -> _Next:
        """Return the next of a queue, for a run that reads nothing itself. Raises: PermanentError."""
        return await next_of(
            queue, lambda: any(link.there for link in self._links), self._voice.say, self._at
        )

    async def admit(self, candidate: Candidate) -> DialledIn | None:
        """Tell a worker what to do; None where there is no room for it, or it is gone."""
        if candidate.gone:
            return None
        left = self._cursors_left
        cursors = CURSORS if left is None else min(CURSORS, left)
        if cursors < 1:
            await candidate.sent_home(
                "the source lets no more than those read who do (source.max_connections)"
            )
            return None
        prepared = self._prepared
        ends, late_s = prepared.ends, prepared.ends.connector.abilities.late_s
        await beside.keep_elsewhere(prepared.store, beats.wait_s(late_s))
        wire = candidate.welcomed(
            Welcome(
                "run",
                (replace(self._job, ticket=ends.source.ticket.as_json()),),
                cursors=cursors,
                silence_s=beats.SILENCE_S,
            )
        )
        self.tell(f"the worker {candidate.name} joins")
        link = DialledIn(wire, candidate.name, prepared.store.tenure, late_s, self._lost)
        self._links.append(link)
        self._cursors[link] = cursors
        self._see_to_view()
        return link

    def _lost(self, text: str) -> None:
        self._warn(text)
        self._see_to_view()

    def _see_to_view(self) -> None:
        if self._keeper is not None:
            self._keeper.see_to(self._links)

    async def end(self) -> None:
        """Hang up, and take back that others may write, if none can."""
        for link in self._links:
            await link.close()
        if self._keeper is not None:
            await self._keeper.end()
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
