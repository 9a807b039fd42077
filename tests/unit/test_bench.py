"""What benchmarks say: a goal without a figure isn't met, and a sentence that names the right bottleneck."""

import json
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from bench import (
    compare,
    coordinating,
    goals,
    report,
    scenarios,
    servers,
    stages,
    suite,
    throttling,
    write_stage,
)
from bench.scenarios import SCENARIOS, Second
from bench.simulator.null import table_description
from bench.stages import Figures
from connectors.dynamodb.table_info import table_info


def results(**changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "peers": {
            "contenders": {
                "backfill": {"median": {"cpu_us_per_item": 7.0}},
                "boto3": {"median": {"cpu_us_per_item": 280.0}},
                "node": {"median": {"cpu_us_per_item": 60.0}},
            }
        },
        "growth": [
            {"rows": 1_000_000, "median": {"cpu_us_per_item": 7.0, "peak_rss_mb": 290}},
            {"rows": 10_000_000, "median": {"cpu_us_per_item": 7.7, "peak_rss_mb": 301}},
        ],
    }
    return {**known, **changes}


def verdicts(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {what: (measured, verdict) for what, _, measured, verdict in goals.table(found)}


def test_each_goal_stands_beside_its_figure_and_says_when_it_is_missed() -> None:
    told = verdicts(results())

    assert told["CPU per item, PostgreSQL to null target, one process"] == ("7.00 µs", "NOT met")
    assert told["items per CPU second against boto3 batch_writer"] == ("40 times", "met")
    assert told["items per CPU second against Node's lib-dynamodb"] == ("9 times", "NOT met")
    assert told["CPU per item at 10 million rows against 1 million"] == ("+10.0 %", "NOT met")
    assert told["peak memory of a process, any size and shape"] == ("301 MB", "NOT met")


def test_what_was_not_measured_is_claimed_by_nobody() -> None:
    told = verdicts({})

    assert set(told.values()) == {(goals.NOT_MEASURED, "")}
    assert verdicts(results(peers={"contenders": {}}))[
        "items per CPU second against Node's lib-dynamodb"
    ] == (goals.NOT_MEASURED, "")


def short(**changes: Any) -> dict[str, Any]:
    median = {"rows": 20_000, "cpu_us_per_item": 35.0, "items_per_s": 20_000.0, "peak_rss_mb": 200}
    longer = {"rows": 200_000, "cpu_us_per_item": 9.0, "items_per_s": 90_000.0, "peak_rss_mb": 250}
    known = {
        "empty": {"run_cpu_s": 0.75, "imports_cpu_s": 0.5, "peak_rss_mb": 150},
        "short": {"rows": 20_000, "median": median},
        "longer": {"rows": 200_000, "median": longer},
        "missing": {},
        "ingestr": {"median": {"items_per_s": 60_000.0}},
    }
    return {"short": {**known, **changes}}


def test_short_loads_count_their_start() -> None:
    told = verdicts(short())
    assert told["CPU of a run of no rows beside its imports"] == ("0.25 s", "NOT met")
    assert told["CPU of 20,000 rows, default options"] == ("0.70 s", "met")
    assert told["CPU per item, 200,000 rows, default options"] == ("9.00 µs", "NOT met")
    assert told["the same by the clock, against ingestr"] == ("1.50 times", "met")
    without = short()
    del without["short"]["ingestr"]
    assert verdicts(without)["the same by the clock, against ingestr"] == (goals.NOT_MEASURED, "")


def test_documents_and_shapes_have_goals_and_count_for_the_peak() -> None:
    def kind(us: float, peak: float) -> dict[str, Any]:
        return {"us_per_document": us, "median": {"peak_rss_mb": peak}}

    documents = {"nested users": kind(9.1, 280), "flat orders": kind(6.0, 310), "ingestr": kind(13.0, 400)}
    shapes = {
        "jsonb of 1 KB": {"us_per_item": 8.0, "peak_rss_mb": 320.0},
        "for_each, jsonb": {"us_per_item": 6.0, "peak_rss_mb": 240.0},
    }
    told = verdicts(results(documents={"documents": 500_000, "missing": {}, **documents}, shapes=shapes))
    assert told["CPU per document, MongoDB, nested, two items"] == ("9.1 µs", "NOT met")
    assert told["CPU per document, MongoDB, flat"] == ("6.0 µs", "met")
    assert told["flat documents per CPU second against ingestr"] == ("2.2 times", "met")
    assert told["CPU per document, MongoDB, each of another shape"] == (goals.NOT_MEASURED, "")
    assert told["CPU per item, jsonb of 1 KB, start-up taken off"] == ("8.0 µs", "met")
    assert told["CPU per item, five from a jsonb list, start-up taken off"] == ("6.0 µs", "NOT met")
    assert told["peak memory of a process, any size and shape"] == ("320 MB", "NOT met")


def test_a_miss_stands_with_its_reason_or_says_that_there_is_none() -> None:
    rows = goals.table(results())
    text = goals.markdown(rows, {"items per CPU second against Node's lib-dynamodb": "half is the kernel's"})
    assert "- **items per CPU second against Node's lib-dynamodb**: half is the kernel's\n" in text
    growth = "CPU per item at 10 million rows against 1 million"
    assert f"- **{growth}**: {goals.NOT_LOOKED_INTO}\n" in text
    assert "- **items per CPU second against boto3" not in text, "that one is met"
    assert "Why" not in goals.markdown(goals.table({}), {})


def trusted(**changes: Any) -> dict[str, Any]:
    verify = {"cpu_us_per_item": 13.0, "found": 3, "told_wrongly": 0, "left": 0}
    case = {"elapsed_s": 12.0, "peak_rss_mb": 400.0}
    names = ("sample", "--full, no collisions", "--full, most keys repeat")
    known = {
        "verify": verify,
        "plan": {"flat": {"off_percent": -6.0}, "embedded": {"off_percent": 1.0}},
        "plan_at_size": {"rows": 10_000_000, **dict.fromkeys(names, case)},
    }
    return {"trust": {**known, **changes}}


def test_trust_counts_what_was_found_less_what_was_told_wrongly() -> None:
    found = "planted damage that verify finds; another form of a number is none"
    assert verdicts(trusted())[found] == ("3 of 3", "met")
    wrong = {"cpu_us_per_item": 26.0, "found": 3, "told_wrongly": 1, "left": 1}
    told = verdicts(trusted(verify=wrong))
    assert told[found] == ("2 of 3", "NOT met")
    assert told["CPU per item, verify --full"] == ("26.0 µs", "NOT met")
    assert told["differences after --repair"] == ("1", "NOT met")


def test_a_plan_is_as_good_as_its_worst_job_and_of_ten_million_rows_only_when_so_many_were_planned() -> None:
    told = verdicts(trusted())
    assert told["write units planned against used, worst of three jobs"] == ("6.0 %", "NOT met")
    assert told["plan of 10 million rows from a sample"] == ("12.0 s", "met")
    fewer = verdicts(trusted(plan_at_size={"rows": 1_000_000, "sample": {"elapsed_s": 2.0}}))
    assert fewer["plan of 10 million rows from a sample"] == (goals.NOT_MEASURED, "")
    assert fewer["peak memory of plan --full, 10 million rows"] == (goals.NOT_MEASURED, "")


def seconds(used: list[float], offered: float = 100.0, **more: float) -> list[Second]:
    plain = Second(0, offered, 0.0, 0.0, 10, 0, 0.0)
    return [replace(plain, second=at, used=units, **more) for at, units in enumerate(used, 1)]


def test_capacity_is_judged_once_it_has_settled() -> None:
    found = scenarios.SCENARIOS[0].judge(seconds([10.0] * 19 + [98.0] * 20 + [0.0], refused=1))

    assert found == {"used_percent": 98.0, "throttled_percent": 10.0}


def test_a_cap_is_judged_by_its_worst_ten_seconds() -> None:
    cap = next(each for each in SCENARIOS if each.name == "cap")

    found = cap.judge(seconds([2000.0] * 10 + [2500.0] * 10 + [1500.0] * 10))

    assert found["most_over_percent"] == 25.0


def test_a_hot_partition_is_judged_by_what_the_others_had_before() -> None:
    hot = next(each for each in SCENARIOS if each.hot)
    before = seconds([3000.0] * 10, others=3000.0)
    during = [replace(each, second=each.second + 10) for each in seconds([2900.0] * 20, others=2800.0)]

    found = hot.judge([*before, *during])

    assert found["others_percent"] == pytest.approx(93.33)
    assert found["hot_per_s"] == 100.0


def test_latencies_are_read_within_their_bucket() -> None:
    latency = {0.004: 50.0, 0.008: 100.0, float("inf"): 100.0}

    assert throttling.quantile_ms(latency, 0.5) == 4.0
    assert throttling.quantile_ms(latency, 0.75) == 6.0
    assert throttling.quantile_ms({}, 0.5) is None


def figures(stage: Any, cpu_s: float, elapsed_s: float, **more: Any) -> Figures:
    plain = Figures(stage, 1000, 1000, 40, 0, elapsed_s, cpu_s, 500_000, 1000, 10**8)
    return replace(plain, **more)


def path(**whole: Any) -> dict[Any, Figures]:
    """A job whose reading takes 1 s of CPU, its rules 1, encoding 3, writing 2, everything 8."""
    return {
        "read": figures("read", 1.0, 2.0, items=0),
        "transform": figures("transform", 2.0, 3.0, items=0),
        "encode": figures("encode", 5.0, 6.0),
        "write": figures("write", 2.0, 3.0),
        "whole": figures("whole", **{"cpu_s": 8.0, "elapsed_s": 8.0, **whole}),
    }


def test_a_stage_costs_what_its_path_costs_more() -> None:
    own = report.shares(report.lines(path()))

    assert own == {"read": 1000.0, "transform": 1000.0, "encode": 3000.0, "write": 2000.0, "rest": 1000.0}


@pytest.mark.parametrize(
    ("whole", "says"),
    [
        ({}, "The engine's own CPU"),
        ({"elapsed_s": 2.2, "cpu_s": 0.5}, "The source is"),
        ({"elapsed_s": 60.0}, "Waiting for the target's answers"),
        ({"elapsed_s": 60.0, "throttled": 4}, "The target's capacity"),
        ({"elapsed_s": 60.0, "limit_wcu": 17.0}, "The target's capacity"),
        ({"elapsed_s": 60.0, "limit_wcu": 9000.0}, "Waiting for the target's answers"),
        ({"items": 0}, "No row becomes an item"),
    ],
)
def test_the_sentence_names_what_holds_the_job_up(whole: dict[str, Any], says: str) -> None:
    assert report.bottleneck(path(**whole), cores=2).startswith(says)


def test_the_heaviest_stage_is_named() -> None:
    assert "3000.0 µs an item, goes into encoding" in report.bottleneck(path(), cores=2)


def test_the_write_stage_writes_to_the_table_of_the_null_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A table that was created at another time would be another one, and nothing would be written."""
    tables = []

    def measure(stage: str, job: object, table: object, rows: int) -> Figures:
        tables.append(table)
        return Figures("write", 1, 1, 1, 0, 1.0, 1.0, 1, 1, 1)

    monkeypatch.setattr(stages, "measure", measure)
    monkeypatch.setattr(compare, "table_of", lambda *_: nullcontext("postgres://localhost/orders"))
    for module, name in ((servers, "null_target"), (write_stage, "tls_null_target")):
        monkeypatch.setattr(module, name, lambda: nullcontext("http://127.0.0.1:1"))

    write_stage.requests("", replace(compare.QUICK, rounds=1), lambda _: None)

    assert tables == [table_info(table_description("orders"))] * 2


def test_a_reason_is_of_a_goal_that_there_is() -> None:
    """A sentence under another name would be shown to nobody."""
    reasons = json.loads((suite.DOCS / suite.REASONS).read_text(encoding="utf-8"))
    assert reasons.keys() <= {goal.what for goal in goals.GOALS}


async def test_a_coordinators_figures_are_of_marks_that_are_durable() -> None:
    """Simulated workers are let in, given segments, and heard, as real ones are."""
    found = await coordinating.measured(coordinating.MarkLoad(workers=2, marks=3, marks_a_s=None))
    assert found["marks"] == 2 * coordinating.SEGMENTS_EACH * 3
    assert found["cpu_s"] > 0
