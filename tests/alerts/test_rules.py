"""Each alert fires for what it is about, by promtool's own clock, and none for a run that is well."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.prometheus import program

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yaml"
SCRAPES = RULES.with_name("scrape.yaml")
JOB = '{job="orders",instance="a"}'

WELL = {
    "backfill_rows_acked_total": "0+1000x{n}",
    "backfill_run_active": "1x{n}",
    "backfill_updated_timestamp_seconds": "0+60x{n}",
    "backfill_target_up": "1x{n}",
    "backfill_write_rate_limit_units": "Infx{n}",
    "backfill_hot_partition_keys": "0x{n}",
    "backfill_dead_letters_open": "0x{n}",
    "backfill_watermark_lag_seconds": "0+60x{n}",
    "backfill_log_retained_bytes": "0+1000000x{n}",
    'backfill_requests_total|outcome="ok"': "0+600x{n}",
    'backfill_requests_total|outcome="partial"': "0x{n}",
    'backfill_requests_total|outcome="throttled"': "0x{n}",
    'backfill_requests_total|outcome="error"': "0+1x{n}",
    'backfill_requests_throttled_total|cause="partition"': "0x{n}",
}

SICK: dict[str, tuple[dict[str, str], int, set[str]]] = {
    "well": ({}, 180, set()),
    "well, and over": (
        {
            **dict.fromkeys(WELL, "0+1x30 stale"),
            "backfill_run_active": "1x29 0 stale",
            "backfill_updated_timestamp_seconds": "0+60x30 stale",
            "backfill_write_rate_limit_units": "Infx30 stale",
            "backfill_dead_letters_open": "0x30 stale",
            'backfill_requests_throttled_total|cause="partition"': "0x30 stale",
            "backfill_hot_partition_keys": "0x30 stale",
            "backfill_target_up": "1x29 stale",
        },
        180,
        set(),
    ),
    "nothing is acked any more": ({"backfill_rows_acked_total": "0+1000x10 10000x{n}"}, 30, {"NoProgress"}),
    "the target is gone": (
        {
            "backfill_rows_acked_total": "0+1000x10 10000x{n}",
            "backfill_target_up": "1x10 0x{n}",
            'backfill_requests_total|outcome="ok"': "0+600x10 6000x{n}",
            'backfill_requests_total|outcome="error"': "0+6x{n}",
        },
        30,
        {"NoProgress", "TargetAway", "RequestsFail"},
    ),
    "the runner is gone": (
        {name: series.replace("{n}", "10 stale") for name, series in WELL.items()},
        30,
        {"RunnerGone"},
    ),
    "the runner hangs, and its file is still there": (
        {"backfill_updated_timestamp_seconds": "0+60x10 600x{n}"},
        30,
        {"RunnerGone"},
    ),
    "the table is short for long, and the pace has adapted": (
        {
            "backfill_write_rate_limit_units": "500x{n}",
            'backfill_requests_total|outcome="partial"': "0+1x{n}",
        },
        30,
        {"Throttled"},
    ),
    "the table was short for a while": (
        {
            "backfill_write_rate_limit_units": "Infx10 500x5 Infx{n}",
            'backfill_requests_total|outcome="partial"': "0x10 0+40x5 200x{n}",
        },
        180,
        set(),
    ),
    "the user's own limit holds it down": ({"backfill_write_rate_limit_units": "500x{n}"}, 180, set()),
    "one partition key is hot": ({"backfill_hot_partition_keys": "0x5 1x{n}"}, 30, {"HotPartition"}),
    "a key was hot for a moment": ({"backfill_hot_partition_keys": "0x5 1x3 0x{n}"}, 180, set()),
    "requests are refused for their partition": (
        {'backfill_requests_throttled_total|cause="partition"': "0+60x{n}"},
        30,
        {"HotPartition"},
    ),
    "one request in five fails": (
        {'backfill_requests_total|outcome="error"': "0+150x{n}"},
        30,
        {"RequestsFail"},
    ),
    "a short run has left letters": (
        {name: series.replace("{n}", "1 stale") for name, series in WELL.items()}
        | {
            "backfill_run_active": "1 0 stale",
            "backfill_target_up": "1 stale",
            "backfill_dead_letters_open": "0 2 stale",
        },
        600,
        {"DeadLetters"},
    ),
    "no run has gone to its end for a day": (
        {
            "backfill_last_success_timestamp_seconds": "0x{n}",
            "backfill_watermark_lag_seconds": "60x{n}",
            "backfill_updated_timestamp_seconds": "0+300x{n}",
        },
        1600,
        {"NoSuccess"},
    ),
    "a run has gone to its end within the day": (
        {
            "backfill_last_success_timestamp_seconds": "0x{n}",
            "backfill_watermark_lag_seconds": "60x{n}",
            "backfill_updated_timestamp_seconds": "0+300x{n}",
        },
        1500,
        set(),
    ),
    "the source keeps more of its log than it can": (
        {"backfill_log_retained_bytes": "0+5000000000x{n}"},
        60,
        {"LogRetained"},
    ),
    "no run that goes by the log has gone to its end for a day": (
        {
            "backfill_last_success_timestamp_seconds": "0x{n}",
            "backfill_watermark_lag_seconds": "stale",
            "backfill_updated_timestamp_seconds": "0+300x{n}",
        },
        1600,
        {"NoSuccess"},
    ),
    "a log that is followed is quiet": (
        {"backfill_rows_acked_total": "1000x{n}", "backfill_catch_up_lag_seconds": "1x{n}"},
        60,
        set(),
    ),
    "a log is followed for more than a day": (
        {
            "backfill_last_success_timestamp_seconds": "0x{n}",
            "backfill_watermark_lag_seconds": "stale",
            "backfill_catch_up_lag_seconds": "1x{n}",
            "backfill_updated_timestamp_seconds": "0+300x{n}",
        },
        1600,
        set(),
    ),
    "a log that is followed falls behind": (
        {"backfill_catch_up_lag_seconds": "0+30x{n}"},
        60,
        {"CatchUpLags"},
    ),
    "a night's changes are caught up with": (
        {"backfill_catch_up_lag_seconds": "86400-1000x{n}"},
        60,
        set(),
    ),
    "the run takes longer than a day": (
        {"backfill_watermark_lag_seconds": "86000+60x{n}"},
        60,
        {"WatermarkLags"},
    ),
}


def series(changes: dict[str, str], minutes: int, labels: str = JOB) -> list[dict[str, str]]:
    """Return the samples of every step, for as many minutes and a few steps more."""
    steps, found = minutes // step_min(minutes) + 5, []
    for name, values in {**WELL, **changes}.items():
        metric, _, label = name.partition("|")
        own = labels.removesuffix("}") + (f",{label}}}" if label else "}")
        text = re.sub(r"Infx(\d+)", _endless, values.replace("{n}", str(steps)))
        found.append({"series": metric + own, "values": text})
    return found


def step_min(minutes: int) -> int:
    """Return the minutes between two samples: a day of them at every minute takes half a minute of ours."""
    return 1 if minutes <= 600 else 5


def _endless(found: "re.Match[str]") -> str:
    """Write out what promtool can't repeat."""
    return " ".join(["Inf"] * (int(found[1]) + 1))


def promtool(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [program("promtool"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def firing(folder: Path, samples: list[dict[str, str]], minutes: int) -> set[str]:
    """Return what fires at a minute."""
    names = {rule["alert"] for rule in rules()}
    asked = [{"eval_time": f"{minutes}m", "alertname": name, "exp_alerts": []} for name in sorted(names)]
    step = f"{step_min(minutes)}m"
    tests = [{"interval": step, "input_series": samples, "alert_rule_test": asked}]
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": step, "tests": tests}))
    said = promtool("test", "rules", file)
    text = said.stdout + said.stderr
    fired = {name for name in names if f"alertname: {name}, time" in text}
    assert bool(fired) == bool(said.returncode), text
    assert text.count("alertname: ") == len(fired), text
    return {name.removeprefix("Backfill") for name in fired}


def rules() -> list[dict[str, Any]]:
    return yaml.safe_load(RULES.read_text())["groups"][0]["rules"]


@pytest.mark.parametrize(("changes", "minutes", "alerts"), SICK.values(), ids=list(SICK))
def test_what_fires(changes: dict[str, str], minutes: int, alerts: set[str], tmp_path: Path) -> None:
    assert firing(tmp_path, series(changes, minutes), minutes) == alerts


def test_every_alert_is_shown_to_fire() -> None:
    shown = set().union(*(alerts for _, _, alerts in SICK.values()))
    assert shown == {rule["alert"].removeprefix("Backfill") for rule in rules()}


def test_another_pod_that_goes_on_settles_what_the_first_left(tmp_path: Path) -> None:
    first = {name: values.replace("{n}", "10 stale") for name, values in WELL.items()}
    first["backfill_dead_letters_open"] = "3x10 stale"
    second = {name: "_x15 " + values.replace("{n}", "5 stale") for name, values in WELL.items()}
    second["backfill_updated_timestamp_seconds"] = "_x15 960+60x5 stale"
    second["backfill_run_active"] = "_x15 1x4 0 stale"
    second["backfill_target_up"] = "_x15 1x4 stale"
    samples = series(first, 60) + series(second, 60, JOB.replace('"a"', '"b"'))
    assert firing(tmp_path, samples, 14) == {"DeadLetters"}
    assert firing(tmp_path, samples, 18) == set()
    assert firing(tmp_path, samples, 120) == set()


def test_prometheus_takes_what_is_to_be_scraped(tmp_path: Path) -> None:
    config = tmp_path / "prometheus.yml"
    config.write_text(yaml.safe_dump({"scrape_configs": yaml.safe_load(SCRAPES.read_text())}))
    said = promtool("check", "config", config)
    assert said.returncode == 0, said.stderr
