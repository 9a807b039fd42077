"""How many workers a cluster is to have, and what becomes of one that has ended. Pure.

Invariant: no more than wanted; where workers die again and again, and not with their nodes, an end is made of
replacing them.
"""

from dataclasses import replace
from typing import Literal, TypeAlias

from engine.exits import Exit
from engine.frozen import dataclass

REPLACED_MAX = 3
"""So many are replaced when they die, or as many as are wanted: more don't die by chance."""

FULL_LOOKS = 7
"""A worker has started within so many looks, 20 s."""

FULL = (
    "the Ray cluster has no room now for all workers that it is to have: the run goes on with those there"
    " are and with this host, and others join when there is room"
)

Where: TypeAlias = Literal["starting", "running"]


@dataclass(frozen=True, slots=True)
class Departure:
    """How a worker on a node of that address has ended. `code` None: it died; `node_lost`: with its node."""

    code: int | None
    words: str
    node: str = ""
    node_lost: bool = False


@dataclass(frozen=True, slots=True)
class Places:
    """The workers of one run. `asks`: whether those for whom nothing is free are asked of the cluster."""

    wanted: int
    asks: bool
    starting: int = 0
    running: int = 0
    replaced: int = 0

    @property
    def missing(self) -> int:
        """How many more are wanted."""
        return max(0, self.wanted - self.starting - self.running)

    def due(self, free_cpus: float) -> int:
        """Return how many are to be placed now.

        Where only what is free is taken, none while others start: what is free is known a little late.
        """
        if self.asks:
            return self.missing
        return 0 if self.starting else min(self.missing, int(free_cpus))

    def full(self, free_cpus: float, all_cpus: float, looks: int) -> bool:
        """Say whether the cluster has no room for all that are wanted.

        One that starts has its CPU already, and looks like one that has none: only `looks` tell, in which
        nothing was free, unless there are fewer CPUs than are wanted.
        """
        if free_cpus >= 1 or self.running >= self.wanted:
            return False
        return self.wanted > all_cpus or looks >= FULL_LOOKS

    def with_one(self) -> "Places":
        """Return them with one more that starts."""
        return replace(self, starting=self.starting + 1)

    def begun(self) -> "Places":
        """Return them with one that has started."""
        return replace(self, starting=self.starting - 1, running=self.running + 1)

    def without(self, where: Where) -> "Places":
        """Return them with one less that was starting or running."""
        if where == "starting":
            return replace(self, starting=self.starting - 1)
        return replace(self, running=self.running - 1)


def after(places: Places, ended: Departure) -> tuple[Places, str | None]:
    """Return what is wanted once a worker, taken out of them already, has ended; and what to tell of it."""
    match ended.code:
        case Exit.DONE:
            return replace(places, wanted=places.wanted - 1), None
        case Exit.UNFIT:
            told = f"a worker on {_node(ended)} can't take part: {ended.words}"
            return replace(places, wanted=places.wanted - 1), told
        case Exit.INTERRUPTED:
            return (
                places,
                f"a worker on {_node(ended)} was asked to leave; another one joins where there is room",
            )
    if ended.node_lost:
        return places, f"{_node(ended)} is gone, and a worker with it; another one joins where there is room"
    before = f", as did {places.replaced} before it" if places.replaced else ""
    most = max(REPLACED_MAX, places.wanted)
    how = f"a worker on {_node(ended)} has ended ({ended.words}){before}"
    if places.replaced >= most:
        return replace(places, wanted=places.wanted - 1), f"{how}: it isn't replaced"
    return replace(places, replaced=places.replaced + 1), f"{how}; another one takes its place"


def _node(ended: Departure) -> str:
    return f"the Ray node {ended.node}" if ended.node else "a Ray node"
