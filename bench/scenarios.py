"""How well the engine follows a capacity that it isn't told: scenarios, and what is read off each. Pure.

Invariant: figures come from the simulator's own account of every second, but for latency, which only the
client knows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any, Final

THROTTLED: Final = ("partial", "ProvisionedThroughputExceededException", "ThrottlingException", "throttled")
SETTLE_S = 20
"""After a start or a step the engine has so long to find the limit."""

HOT_KEY = "USER#0"
HOT_FIRST_ROW, HOT_ROWS = 60_001, 6_000


@dataclass(frozen=True, slots=True)
class Second:
    """One second since the first write. Units: write units; `requests` and `refused` requests."""

    second: int
    offered: float
    used: float
    throttled: float
    requests: int
    refused: int
    others: float


Judge = Callable[[Sequence[Second]], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One rehearsal. `steps` set capacity so many seconds after the first write.

    `resource` is what offers and uses: the table, or an index by name. `hot`: the table of orders has one
    tenant whose orders lie together.
    """

    name: str
    title: str
    seconds: int
    judge: Judge
    options: Sequence[str] = ()
    model: Mapping[str, float] = field(default_factory=dict)
    capacity: Mapping[str, Any] = field(default_factory=dict)
    create: Mapping[str, Any] = field(default_factory=dict)
    target: Mapping[str, Any] = field(default_factory=dict)
    steps: Sequence[tuple[int, Mapping[str, Any]]] = ()
    resource: str = "table"
    offered_label: str = "offered"
    workers: int = 1
    hot: bool = False
    offered_fixed: float | None = None


def used_percent(seconds: Sequence[Second], since: int, until: int) -> float:
    """Return what share of the capacity on offer was used."""
    window = [each for each in seconds if since <= each.second < until]
    return round(sum(each.used for each in window) / sum(each.offered for each in window) * 100, 2)


def throttled_percent(seconds: Sequence[Second], since: int, until: int) -> float:
    """Return what share of the requests was throttled, wholly or in part."""
    window = [each for each in seconds if since <= each.second < until]
    return round(sum(each.refused for each in window) / sum(each.requests for each in window) * 100, 2)


def _settled(seconds: Sequence[Second]) -> dict[str, float]:
    end = seconds[-1].second
    since = min(SETTLE_S, end // 2)
    return {
        "used_percent": used_percent(seconds, since, end),
        "throttled_percent": throttled_percent(seconds, since, end),
    }


STEP_DOWN_S, STEP_UP_S = 30, 75


def _stepped(seconds: Sequence[Second]) -> dict[str, float]:
    end = seconds[-1].second
    down, up = (STEP_DOWN_S + SETTLE_S, STEP_UP_S), (STEP_UP_S + SETTLE_S, end)
    return {
        "used_after_step_down_percent": used_percent(seconds, *down),
        "throttled_after_step_down_percent": throttled_percent(seconds, *down),
        "used_after_step_up_percent": used_percent(seconds, *up),
        "throttled_after_step_up_percent": throttled_percent(seconds, *up),
    }


def _others(seconds: Sequence[Second]) -> dict[str, float]:
    """Compare the other keys' throughput while one partition is hot with what it was before."""
    began = next(each.second for each in seconds if each.used - each.others > 0)
    before = mean(each.others for each in seconds if 3 <= each.second < began)
    during = [each for each in seconds if began + 2 <= each.second < seconds[-1].second]
    return {
        "others_before_per_s": round(before, 1),
        "others_during_per_s": round(mean(each.others for each in during), 1),
        "others_percent": round(mean(each.others for each in during) / before * 100, 2),
        "hot_per_s": round(mean(each.used - each.others for each in during), 1),
        "throttled_percent": throttled_percent(seconds, began + 2, seconds[-1].second),
    }


CAP = 2_000
CAP_WINDOW_S = 10


def _capped(seconds: Sequence[Second]) -> dict[str, float]:
    """Find the ten seconds in which most was used."""
    used = [each.used for each in seconds]
    windows = [sum(used[at : at + CAP_WINDOW_S]) for at in range(max(1, len(used) - CAP_WINDOW_S))]
    most = max(windows) / CAP_WINDOW_S
    return {
        "most_over_percent": round((most / CAP - 1) * 100, 2),
        "used_percent": round(mean(used[2:-1]) / CAP * 100, 2),
    }


_FIXED = {"billing": "provisioned", "write_capacity": 4000, "read_capacity": 1000}

SCENARIOS: Final = (
    Scenario("steady", "Steady: 4,000 write units a second", 60, _settled, create=_FIXED),
    Scenario(
        "step",
        "A step down and a step up: 4,000, 1,000, 8,000",
        120,
        _stepped,
        create=_FIXED,
        steps=((STEP_DOWN_S, {"write": 1000}), (STEP_UP_S, {"write": 8000})),
    ),
    Scenario(
        "on demand",
        "On demand, warming up: what it takes doubles after 40 s",
        80,
        _settled,
        options=("--doubling-s", "40"),
    ),
    Scenario(
        "hot partition",
        "One hot partition of 40: 6,000 rows of one key arrive at once",
        70,
        _others,
        model={"partition_write": 100.0, "heat_s": 1e9},
        create={**_FIXED, "read_capacity": 1},
        target={"max_wcu": 3000},
        hot=True,
        offered_fixed=3000.0,
        offered_label="max_wcu",
    ),
    Scenario(
        "starved index",
        "A starved index: the table takes 4,000, its index 1,000",
        60,
        _settled,
        create={
            **_FIXED,
            "gsi": [{"name": "ByEmail", "partition_key": "Email", "sort_key": "OrderDate"}],
        },
        capacity={"index": "ByEmail", "write": 1000},
        resource="ByEmail",
        offered_label="offered by the index",
    ),
    Scenario(
        "faults",
        "5 % random faults: throttled, 500, 503, cut connections, unprocessed items",
        60,
        _settled,
        create=_FIXED,
        options=tuple(
            word
            for fault in ("throttled", "500", "503", "reset_before", "unprocessed")
            for word in ("--fault", f"{fault}=0.01")
        ),
    ),
    Scenario(
        "cap",
        f"max_wcu: {CAP:,} over two processes, where the table would take anything",
        40,
        _capped,
        options=("--unlimited",),
        target={"max_wcu": CAP},
        workers=2,
        offered_fixed=float(CAP),
        offered_label="max_wcu",
    ),
)
