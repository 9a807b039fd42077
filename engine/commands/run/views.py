"""How the view that a run reads outlives its runner: a second keeper, and what is kept beside the state.

A view that needs a session to live (a snapshot of PostgreSQL) dies with the runner's own. So one worker of
another host is asked to keep it by a session of its own; a worker that has lost its runner sends nothing, but
keeps the view for a time, in which whoever goes on with the run finds it.

Invariant: what is kept is known for one run, and only once what was found out about that view is kept, too.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from engine.commands.ends import Ends
from engine.contracts.state import CheckpointStore, RunState
from engine.errors import BackfillError
from engine.run.beats import DialledIn
from engine.state import beside
from engine.state.beside import KeptView
from engine.state.resume import Decision, GoOn, by_log


async def kept_before(store: CheckpointStore, decision: Decision) -> KeptView | None:
    """Return by what the view may be opened that an unfinished run has read; None: a new one is read."""
    if not isinstance(decision, GoOn) or (decision.run.kind == "catch_up" and by_log(decision.run.watched)):
        return None
    return await beside.kept_view(store, decision.run.run_id)


async def keep(store: CheckpointStore, ends: Ends, state: RunState, *, differ: bool) -> KeptView:
    """Keep by what the view may be opened that a run reads from here on. `differ`: see KeptView."""
    own = ends.source.abilities.view
    kept = KeptView(state.run_id, () if own is None else (own,), differ)
    await beside.keep_view(store, kept)
    return kept


class SecondKeeper:
    """Sees to it that a worker of another host keeps a run's view, too, and that it is durable by what name.

    `room` takes a place to read for it, and says whether there was one; `say` tells what is true only now.
    """

    def __init__(
        self,
        store: CheckpointStore,
        kept: KeptView,
        room: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        self._store = store
        self._kept = kept
        self._room = room
        self._say = say
        self._holder: DialledIn | None = None
        self._unable: set[DialledIn] = set()
        self._writing: set[asyncio.Task[None]] = set()

    def see_to(self, links: Sequence[DialledIn]) -> None:
        """Ask one of those who are there, where none keeps it."""
        if self._holder is not None and self._holder.there:
            return
        able = (link for link in links if link.there and link not in self._unable)
        self._holder = next(able, None) if self._room() else None
        if self._holder is not None:
            self._holder.hold_view(lambda link, view: self._answered(link, view, links))

    async def end(self) -> None:
        """Wait until what is known is written."""
        await asyncio.gather(*self._writing)

    def _answered(self, link: DialledIn, view: str | None, links: Sequence[DialledIn]) -> None:
        if view is None:
            self._unable.add(link)
            self._holder = None
            self.see_to(links)
            return
        self._say(f"the worker {link.name} keeps the run's view of the source, too")
        writing = asyncio.create_task(self._write(replace(self._kept, names=(*self._kept.names, view))))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)

    async def _write(self, kept: KeptView) -> None:
        try:
            await beside.keep_view(self._store, kept)
        except BackfillError as error:  # whoever goes on reads a new view
            self._say(str(error))
