"""What a seed stands for: table, job, faults, and when a run is killed, stopped or moved under. Pure.

Invariant: the same seed is the same plan, on every machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final, Literal, TypeAlias

from tests.campaign.faults import ENDING, KINDS, PASSING, Faults
from tests.support import mongo_moves

Mode: TypeAlias = Literal["put", "insert", "newer"]
Shape: TypeAlias = Literal["unique", "colliding", "fan_out", "deletes"]
Source: TypeAlias = Literal["postgres", "mongodb"]
Blow: TypeAlias = Literal["kill_runner", "kill_all", "kill_worker", "pause", "sigint", "sigterm"]

KILLS: Final = frozenset({"kill_runner", "kill_all", "kill_worker"})
MONGODB_SHARE: Final = 0.25
QUIET: Final = Faults(lasts_s=0.5, rates={"internal_500": 0.05})
HELD_FAULTS_S: Final = 6.0
"""Where keys collide they are held long after each lost answer: faults for ever would take minutes."""
MOVES_SHARE: Final = 0.2
MOVE_WCU, MOVE_PAD = 6_000, 8_000
"""16 MB, of which the engine holds 6, written in three seconds."""
MOVES: Final[Mapping[Source, Sequence[str]]] = {
    "postgres": ("truncate", "truncate_reload", "drop", "swap", "recreate", "detach", "target_recreated"),
    "mongodb": (*mongo_moves.MOVES, "target_recreated"),
}


@dataclass(frozen=True, slots=True)
class Event:
    """What happens to a run once so many of the items are written. Units: seconds a pause lasts."""

    at_written: int
    blow: Blow
    lasts_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Move:
    """What moves under a run: while it reads, or between two runs."""

    name: str
    at_written: int
    between: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """One seed's choices."""

    seed: int
    source: Source
    shape: Shape
    mode: Mode
    rows: int
    groups: int
    workers: int
    batch_rows: int
    segments: int
    max_wcu: int | None
    pad: int
    """Characters that a row is longer by, so that a load isn't read whole before it is written."""
    faults: Faults
    events: Sequence[Event]
    move: Move | None

    @property
    def said(self) -> str:
        """One line that says what this seed is."""
        faults = self.faults
        mix = " ".join(f"{name}:{rate:.3g}" for name, rate in faults.rates.items()) or "no faults"
        lasts = "" if faults.lasts_s is None else f" for {faults.lasts_s:.1f} s"
        ends = "".join(f" {name}@{number}" for number, name in faults.ending_at.items())
        body = "" if faults.body_max is None else f" 413 over {faults.body_max} bytes"
        events = " ".join(f"{event.blow}@{event.at_written}" for event in self.events)
        move = "" if self.move is None else f", {self.move.name}{' between' if self.move.between else ''}"
        return (
            f"{self.source} {self.shape} {self.mode} rows {self.rows} workers {self.workers} "
            f"batch {self.batch_rows}: {mix}{lasts}{ends}{body}, {events or 'no blows'}{move}"
        )


def plan_of(seed: int) -> Plan:
    """Return what a seed stands for."""
    random = Random(f"campaign {seed}")
    source: Source = "mongodb" if random.random() < MONGODB_SHARE else "postgres"
    mode: Mode = random.choice(("put", "put", "insert", "newer"))
    shape: Shape = random.choice(("unique", "colliding", "colliding", "fan_out", "deletes"))
    if shape == "deletes" and mode != "put":
        shape = "colliding"
    rows = random.choice((500, 1_000, 2_000, 5_000))
    if mode == "newer":
        rows = min(rows, 1_000)
    groups = max(5, rows // random.choice((2, 4, 12)))
    moves = random.random() < MOVES_SHARE
    if moves:
        shape, rows = "unique", 2_000
        mode, source = "put", "postgres" if seed % 2 else "mongodb"
    held = (shape, mode) == ("colliding", "put")
    return Plan(
        seed=seed,
        source=source,
        shape=shape,
        mode=mode,
        rows=rows,
        groups=groups,
        workers=random.choice((1, 2)),
        batch_rows=random.choice((25, 50, 100, 400)),
        segments=random.choice((1, 3, 6)),
        max_wcu=MOVE_WCU if moves else random.choice((None, None, rows)),
        pad=MOVE_PAD if moves else 0,
        faults=replace(QUIET, seed=seed) if moves else _faults(random, seed, held),
        events=() if moves else _events(random, groups if shape == "colliding" else rows),
        move=_move(random, source, rows) if moves else None,
    )


def _faults(random: Random, seed: int, held: bool) -> Faults:
    kinds = random.sample(PASSING, random.randint(1, 7))
    total = random.choice((0.01, 0.1, 0.2, 0.33))
    weights = [random.uniform(0.2, 1.0) for _ in kinds]
    rates = {kind: total * weight / sum(weights) for kind, weight in zip(kinds, weights, strict=True)}
    slow = {kind: min(rate, 0.004) if KINDS[kind].slow else rate for kind, rate in rates.items()}
    ending_at = {}
    if random.random() < 0.2:
        ending_at = {random.randint(3, 60): random.choice(ENDING)}
    return Faults(
        seed=seed,
        rates=slow,
        lasts_s=random.choice((HELD_FAULTS_S if held else None, 3.0, 6.0)),
        ending_at=ending_at,
        body_max=random.choice((2_000, 5_000)) if random.random() < 0.15 else None,
        latency_s=random.choice((0.002, 0.01, 0.03)),
    )


def _events(random: Random, keys: int) -> tuple[Event, ...]:
    blows: Sequence[Blow] = ("kill_runner", "kill_all", "kill_worker", "pause", "sigint", "sigterm")
    count = random.choice((0, 1, 1, 2, 3))
    places = sorted(random.randint(1, int(keys * 0.9)) for _ in range(count))
    return tuple(Event(at, random.choice(blows), round(random.uniform(0.2, 1.5), 2)) for at in places)


def _move(random: Random, source: Source, rows: int) -> Move:
    return Move(random.choice(MOVES[source]), random.randint(rows // 20, rows // 4), random.random() < 0.4)
