"""What a seed of the soak stands for: everything that it does follows from its number. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, TypeAlias

Blow: TypeAlias = Literal["kill_all", "kill_runner", "sigterm", "sigint", "pause"]

BLOWS: Final[tuple[Blow, ...]] = (
    "kill_all",
    "kill_all",
    "kill_runner",
    "kill_runner",
    "sigterm",
    "sigint",
    "pause",
)
FAULTS: Final[tuple[Mapping[str, float], ...]] = (
    {},
    {"unprocessed": 0.1, "throttling": 0.05},
    {"internal_500": 0.05, "internal_500_applied": 0.05, "reset_before": 0.03, "reset_after": 0.03},
    {"unprocessed": 0.1, "close_after": 0.03, "slow": 0.05, "truncated": 0.03},
)
"""What befalls requests, as shares of all; nothing that is applied when its connection is long gone."""
LINGER_S, LINGER_QUICK_S = 20.0, 1.5
SEVERAL_ROWS = 600
"""More, and bulk changes come faster than three jobs take them one after the other on a busy machine: a run
took six minutes, and fell further behind."""


@dataclass(frozen=True, slots=True)
class LogPlan:
    """One seed. Units: seconds; `rows` there are at the beginning; `catch_ups` and `follows` are runs."""

    seed: int
    server: str
    quick: bool
    rows: int
    writers: int
    linger_s: float
    partitioned: bool
    identity_full: bool
    faults: Mapping[str, float]
    catch_ups: int
    follows: int
    blow_share: float
    shared: bool
    """Whether a rule has keys that many rows make, of whom one wins."""
    jobs: int
    """How many jobs of one file load it, by one slot."""

    @property
    def again(self) -> str:
        """The command that runs it again."""
        options = f"{' --several' if self.jobs > 1 else ''}{' --quick' if self.quick else ''}"
        return f"python -m tests.soak --on {self.server} --seed {self.seed}{options}"

    @property
    def said(self) -> str:
        """What it is, in a few words."""
        table = "partitioned" if self.partitioned else "one table"
        told = "FULL" if self.identity_full else "an index"
        shape = "" if self.server == "mongodb" else f", {table}, identity {told}"
        faults = ", ".join(self.faults) or "none"
        keys = ", shared keys" if self.shared else ""
        jobs = f", {self.jobs} jobs" if self.jobs > 1 else ""
        return f"{self.server:>7} {self.seed:>4}: {self.rows} rows{shape}{keys}{jobs}, faults {faults}"

    def random(self, of: str) -> Random:
        """Return what one part of the seed draws from."""
        return Random(f"{self.server} {self.seed} {of}")


def log_plan_of(seed: int, server: str, *, quick: bool, several: bool = False) -> LogPlan:
    """Return the seed of this number on this server. `several`: with two or three jobs that share a slot."""
    random = Random(f"soak {server} {seed}")
    rows = 300 if quick else random.choice((300, 1200, 2500))
    if several:
        rows = min(rows, SEVERAL_ROWS)
    return LogPlan(
        seed,
        server,
        quick,
        rows=rows,
        writers=2 if quick else 4,
        linger_s=LINGER_QUICK_S if quick else LINGER_S,
        partitioned=random.random() < 0.3,
        identity_full=random.random() < 0.5,
        faults=random.choice(FAULTS),
        catch_ups=2 if quick else 10,
        follows=1 if quick else 4,
        blow_share=0.6,
        # Each change of a row reads all that share its key: with many rows a seed would do nothing else.
        shared=rows < 2500 and random.random() < 0.7,
        jobs=random.choice((2, 3)) if several else 1,
    )
