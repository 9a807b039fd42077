"""The project's goals, each beside what was measured. Pure: results in, rows of a table out.

Invariant: a figure that wasn't measured is said to be missing, never guessed; a goal that isn't met says so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOT_MEASURED, MET, MISSED = "not measured", "met", "NOT met"
NOT_LOOKED_INTO = "nobody has looked into it yet"
PLANNED_ROWS = 10_000_000
DOCUMENTS = ("nested users", "flat orders", "of any shape")
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
        return self.what, self.goal, self.show.format(figure), MET if self.met(figure) else MISSED


def _most(
    what: str, limit: float, unit: str, find: Callable[[Mapping[str, Any]], float], digits: int = 1
) -> Goal:
    """Return a goal that is met up to a limit."""
    return Goal(
        what, f"at most {limit:,g} {unit}", find, lambda found: found <= limit, f"{{:,.{digits}f}} {unit}"
    )


def _least(
    what: str, limit: float, unit: str, find: Callable[[Mapping[str, Any]], float], digits: int = 1
) -> Goal:
    """Return a goal that is met from a limit on."""
    return Goal(
        what,
        f"at least {limit:,g} {unit}".rstrip(),
        find,
        lambda found: found >= limit,
        f"{{:,.{digits}f}} {unit}".rstrip(),
    )


def _median(results: Mapping[str, Any], name: str, figure: str) -> float:
    return float(results["peers"]["contenders"][name]["median"][figure])


def _ratio(results: Mapping[str, Any], name: str) -> float:
    return _median(results, name, "cpu_us_per_item") / _median(results, "backfill", "cpu_us_per_item")


def _grown(results: Mapping[str, Any]) -> float:
    """Return the cost of 10 million rows against 1 million, in percent of change."""
    cost = {each["rows"]: each["median"]["cpu_us_per_item"] for each in results["growth"]}
    return float(cost[10_000_000] / cost[1_000_000] - 1) * 100


def _of_ten_million(results: Mapping[str, Any]) -> float:
    cost = {each["rows"]: each["median"]["cpu_us_per_item"] for each in results["growth"]}
    return float(cost[10_000_000])


def _peak(results: Mapping[str, Any]) -> float:
    """Return the highest peak of all loads that were measured."""
    short = results.get("short", {})
    loads = [*results["growth"], *(short[name] for name in ("short", "longer") if name in short)]
    loads += [each for kind, each in results.get("documents", {}).items() if kind in DOCUMENTS]
    loads += results.get("large", {}).values()
    peaks = [float(each["median"]["peak_rss_mb"]) for each in loads]
    return max(peaks + [float(each["peak_rss_mb"]) for each in results.get("shapes", {}).values()])


def _beyond_imports(results: Mapping[str, Any]) -> float:
    """Return what a run of no rows takes beside its imports. Units: seconds of CPU."""
    found = results["short"]["empty"]
    return float(found["run_cpu_s"] - found["imports_cpu_s"])


def _of_short(
    figure: Callable[[Mapping[str, Any]], float], name: str
) -> Callable[[Mapping[str, Any]], float]:
    return lambda results: float(figure(results["short"][name]["median"]))


def _seconds_of_cpu(median: Mapping[str, Any]) -> float:
    return float(median["cpu_us_per_item"] * median["rows"] / 1e6)


def _clock_against_ingestr(results: Mapping[str, Any]) -> float:
    """Return how long ingestr takes for 200,000 rows, ours being 1."""
    short = results["short"]
    return float(short["longer"]["median"]["items_per_s"] / short["ingestr"]["median"]["items_per_s"])


def _document(kind: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda results: float(results["documents"][kind]["us_per_document"])


def _documents_against_ingestr(results: Mapping[str, Any]) -> float:
    return _document("ingestr")(results) / _document("flat orders")(results)


def _shape(name: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda results: float(results["shapes"][name]["us_per_item"])


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
    _most(
        "CPU per item, PostgreSQL to null target, one process",
        5,
        "µs",
        lambda results: _median(results, "backfill", "cpu_us_per_item"),
        2,
    ),
    _most("CPU per item, 10 million rows", 4.5, "µs", _of_ten_million, 2),
    _most(
        "CPU per item, 200,000 rows, default options",
        8,
        "µs",
        _of_short(lambda median: median["cpu_us_per_item"], "longer"),
        2,
    ),
    _least("the same by the clock, against ingestr", 1, "times", _clock_against_ingestr, 2),
    _most("CPU of a run of no rows beside its imports", 0.2, "s", _beyond_imports, 2),
    _most("CPU of 20,000 rows, default options", 0.8, "s", _of_short(_seconds_of_cpu, "short"), 2),
    _most("CPU per document, MongoDB, flat", 7, "µs", _document("flat orders")),
    _least("flat documents per CPU second against ingestr", 2, "times", _documents_against_ingestr),
    _most("CPU per document, MongoDB, nested, two items", 9, "µs", _document("nested users")),
    _most("CPU per document, MongoDB, each of another shape", 15, "µs", _document("of any shape")),
    _most("CPU per item, jsonb of 1 KB, start-up taken off", 9, "µs", _shape("jsonb of 1 KB")),
    _most("CPU per item, five from a jsonb list, start-up taken off", 5, "µs", _shape("for_each, jsonb")),
    _most(
        "a request of 25 items, write stage alone, no TLS",
        100,
        "µs",
        lambda results: results["write"]["plain"]["cpu_us_per_request"],
        0,
    ),
    _most("the same with TLS", 160, "µs", lambda results: results["write"]["tls"]["cpu_us_per_request"], 0),
    _most(
        "CPU of an item in mode newer, a request each, against the plain row's",
        5.3,
        "times",
        lambda results: results["shapes"]["newer"]["us_per_item"] / results["shapes"]["plain"]["us_per_item"],
    ),
    _least(
        "items per CPU second against boto3 batch_writer",
        35,
        "times",
        lambda results: _ratio(results, "boto3"),
        0,
    ),
    _least(
        "items per CPU second against Node's lib-dynamodb",
        10,
        "times",
        lambda results: _ratio(results, "node"),
        0,
    ),
    _least(
        "items per CPU second against ingestr, both whole processes",
        2.2,
        "times",
        lambda results: _ratio(results, "ingestr"),
    ),
    _least(
        "items a second on 2 cores, PostgreSQL and null target beside it",
        100_000,
        "",
        lambda results: results["cores"]["median"]["items_per_s"],
        0,
    ),
    Goal(
        "CPU per item at 10 million rows against 1 million",
        "at most 5 % more",
        _grown,
        lambda figure: figure <= 5,
        "{:+.1f} %",
    ),
    _most("peak memory of a process, any size and shape", 300, "MB", _peak, 0),
    _least("capacity used, steady", 97, "%", _scenario("steady", "used_percent")),
    _least(
        "capacity used, 20 s after a step down", 97, "%", _scenario("step", "used_after_step_down_percent")
    ),
    _least("capacity used, 20 s after a step up", 97, "%", _scenario("step", "used_after_step_up_percent")),
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
    _most("CPU per item, verify --full", 12, "µs", _verified("cpu_us_per_item")),
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
    _most(
        "peak memory of plan --full, 10 million rows", 500, "MB", _planned(PLANNED_WHOLE, "peak_rss_mb"), 0
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


def markdown(rows: Sequence[tuple[str, str, str, str]], reasons: Mapping[str, str]) -> str:
    """Lay the table out for the docs, with why a goal is missed under it, where somebody has looked."""
    table = ["| figure | goal | measured | |", "|---|---|---|---|"]
    table += [f"| {' | '.join(row)} |" for row in rows]
    missed = [what for what, _, _, verdict in rows if verdict == MISSED]
    if not missed:
        return "\n".join(table)
    told = [f"- **{what}**: {reasons.get(what, NOT_LOOKED_INTO)}" for what in missed]
    return "\n".join([*table, "", "Why a goal is missed:", "", *told])
