"""The project's goals, each beside what was measured. Pure: results in, rows of a table out.

Invariant: a figure that wasn't measured is said to be missing, never guessed; a goal that isn't met says so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOT_MEASURED = "not measured"
PLANNED_ROWS = 10_000_000
PLANNED_WHOLE = ("--full, no collisions", "--full, most keys repeat")


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal. `find` takes its figure out of the results and raises LookupError where it isn't there."""

    what: str
    goal: str
    find: Callable[[Mapping[str, Any]], float]
    met: Callable[[float], bool]
    show: str = "{:.1f}"

    def row(self, results: Mapping[str, Any]) -> tuple[str, str, str, str]:
        """Return what, goal, measured and verdict."""
        try:
            figure = self.find(results)
        except (LookupError, TypeError):
            return self.what, self.goal, NOT_MEASURED, ""
        return self.what, self.goal, self.show.format(figure), "met" if self.met(figure) else "NOT met"


def _median(results: Mapping[str, Any], name: str, figure: str) -> float:
    return float(results["peers"]["contenders"][name]["median"][figure])


def _ratio(results: Mapping[str, Any], name: str) -> float:
    return _median(results, name, "cpu_us_per_item") / _median(results, "backfill", "cpu_us_per_item")


def _grown(results: Mapping[str, Any]) -> float:
    """Return the cost of 10 million rows against 1 million, in percent of change."""
    cost = {each["rows"]: each["median"]["cpu_us_per_item"] for each in results["growth"]}
    return float(cost[10_000_000] / cost[1_000_000] - 1) * 100


def _peak(results: Mapping[str, Any]) -> float:
    return max(float(each["median"]["peak_rss_mb"]) for each in results["growth"])


def _verified(figure: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda results: float(results["trust"]["verify"][figure])


def _found(results: Mapping[str, Any]) -> float:
    """Return how much planted damage was found, less what was told and wasn't planted."""
    return _verified("found")(results) - _verified("told_wrongly")(results)


def _plan_off(results: Mapping[str, Any]) -> float:
    """Return the error of the worst plan. Units: percent."""
    return max(abs(float(each["off_percent"])) for each in results["trust"]["plan"].values())


def _planned(cases: Sequence[str], figure: str) -> Callable[[Mapping[str, Any]], float]:
    """Find the highest figure of plans of ten million rows, where so many were planned."""

    def find(results: Mapping[str, Any]) -> float:
        found = results["trust"]["plan_at_size"]
        if found["rows"] != PLANNED_ROWS:
            raise LookupError("another size was planned")
        return max(float(found[case][figure]) for case in cases)

    return find


def _scenario(name: str, figure: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda results: float(results["throttle"][name]["figures"][figure])


GOALS: Sequence[Goal] = (
    Goal(
        "CPU per item, PostgreSQL to null target, one process",
        "at most 8 µs",
        lambda results: _median(results, "backfill", "cpu_us_per_item"),
        lambda figure: figure <= 8,
        "{:.2f} µs",
    ),
    Goal(
        "a request of 25 items, write stage alone, no TLS",
        "at most 100 µs",
        lambda results: results["write"]["plain"]["cpu_us_per_request"],
        lambda figure: figure <= 100,
        "{:.0f} µs",
    ),
    Goal(
        "the same with TLS",
        "at most 160 µs",
        lambda results: results["write"]["tls"]["cpu_us_per_request"],
        lambda figure: figure <= 160,
        "{:.0f} µs",
    ),
    Goal(
        "CPU of an item in mode newer, a request each, against the plain row's",
        "at most 5.3 times",
        lambda results: results["shapes"]["newer"]["us_per_item"] / results["shapes"]["plain"]["us_per_item"],
        lambda figure: figure <= 5.3,
        "{:.1f} times",
    ),
    Goal(
        "items per CPU second against boto3 batch_writer",
        "at least 30 times",
        lambda results: _ratio(results, "boto3"),
        lambda figure: figure >= 30,
        "{:.0f} times",
    ),
    Goal(
        "items per CPU second against Node's lib-dynamodb",
        "at least 10 times",
        lambda results: _ratio(results, "node"),
        lambda figure: figure >= 10,
        "{:.0f} times",
    ),
    Goal(
        "items per CPU second against ingestr, both whole processes",
        "at least 2.2 times",
        lambda results: _ratio(results, "ingestr"),
        lambda figure: figure >= 2.2,
        "{:.1f} times",
    ),
    Goal(
        "items a second on 2 cores, PostgreSQL and null target beside it",
        "at least 100,000",
        lambda results: results["cores"]["median"]["items_per_s"],
        lambda figure: figure >= 100_000,
        "{:,.0f}",
    ),
    Goal(
        "CPU per item at 10 million rows against 1 million",
        "at most 5 % more",
        _grown,
        lambda figure: figure <= 5,
        "{:+.1f} %",
    ),
    Goal("peak memory of a process, any size", "at most 300 MB", _peak, lambda mb: mb <= 300, "{:.0f} MB"),
    Goal(
        "capacity used, steady",
        "at least 97 %",
        _scenario("steady", "used_percent"),
        lambda figure: figure >= 97,
        "{:.1f} %",
    ),
    Goal(
        "capacity used, 20 s after a step down",
        "at least 97 %",
        _scenario("step", "used_after_step_down_percent"),
        lambda figure: figure >= 97,
        "{:.1f} %",
    ),
    Goal(
        "capacity used, 20 s after a step up",
        "at least 97 %",
        _scenario("step", "used_after_step_up_percent"),
        lambda figure: figure >= 97,
        "{:.1f} %",
    ),
    Goal(
        "throttled requests, steady",
        "below 1 %",
        _scenario("steady", "throttled_percent"),
        lambda figure: figure < 1,
        "{:.2f} %",
    ),
    Goal(
        "one hot partition: throughput of the others",
        "at least 95 % of before",
        _scenario("hot partition", "others_percent"),
        lambda figure: figure >= 95,
        "{:.1f} %",
    ),
    Goal(
        "write latency p99, steady, service of 4 ms",
        "below 15 ms",
        _scenario("steady", "latency_p99_ms"),
        lambda figure: figure < 15,
        "{:.1f} ms",
    ),
    Goal(
        "max_wcu: most over it in any 10 s, two processes",
        "at most 2 %",
        _scenario("cap", "most_over_percent"),
        lambda figure: figure <= 2,
        "{:+.2f} %",
    ),
    Goal(
        "CPU per item, verify --full",
        "at most 25 µs",
        _verified("cpu_us_per_item"),
        lambda figure: figure <= 25,
        "{:.1f} µs",
    ),
    Goal(
        "planted damage that verify finds; another form of a number is none",
        "3 of 3",
        _found,
        lambda found: found == 3,
        "{:.0f} of 3",
    ),
    Goal("differences after --repair", "0", _verified("left"), lambda left: left == 0, "{:.0f}"),
    Goal(
        "write units planned against used, worst of three jobs",
        "at most 5 % off",
        _plan_off,
        lambda figure: figure <= 5,
        "{:.1f} %",
    ),
    Goal(
        "plan of 10 million rows from a sample",
        "below 30 s",
        _planned(["sample"], "elapsed_s"),
        lambda seconds: seconds < 30,
        "{:.1f} s",
    ),
    Goal(
        "peak memory of plan --full, 10 million rows",
        "at most 500 MB",
        _planned(PLANNED_WHOLE, "peak_rss_mb"),
        lambda mb: mb <= 500,
        "{:.0f} MB",
    ),
)


def table(results: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return a row per goal: what, goal, measured, verdict."""
    return [goal.row(results) for goal in GOALS]


def text(rows: Sequence[tuple[str, str, str, str]]) -> str:
    """Lay the table out for a terminal."""
    head = ("figure", "goal", "measured", "")
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(4)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def markdown(rows: Sequence[tuple[str, str, str, str]]) -> str:
    """Lay the table out for the docs."""
    return "\n".join(
        ["| figure | goal | measured | |", "|---|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    )
