"""Runs the scenarios of throttling: the whole command against the simulator, and what the simulator saw.

Invariant: nothing but the clock decides when a rehearsal ends, and the run is ended as a user would: with
Ctrl-C, after which its report is there.
"""

import json
import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from bench import compare, orders, servers
from bench.scenarios import HOT_FIRST_ROW, HOT_KEY, HOT_ROWS, SCENARIOS, SETTLE_S, THROTTLED, Scenario, Second
from engine.environment import module_command
from engine.errors import PermanentError

LATENCY_MS = 4
"""What the simulated service takes for an answer, in the median."""

SOURCE_ROWS, QUICK_ROWS = 1_000_000, 100_000
QUICK_S = 12
POLL_S = 0.2
START_S = 120.0
INTERRUPTED = 130
JOURNAL_PAGE = 50_000
LATENCY_BUCKET = re.compile(
    r'^backfill_request_duration_seconds_bucket\{.*le="([^"]+)".*\} (\S+)$', re.MULTILINE
)
LATENCY_MAX_S = 120.0
DECISION = re.compile(
    r"DEBUG \S.*? connectors\.dynamodb\.target: (\w+)\((?:why='(\w+)'|verdict=<(Verdict\.\w+))?"
)


def run(server: str, sizes: compare.Sizes, tell: compare.Tell) -> dict[str, Any]:
    """Rehearse every scenario, or the first one for a moment; return what came of each."""
    chosen = (replace(SCENARIOS[0], seconds=QUICK_S),) if sizes.rounds == 1 else SCENARIOS
    found = {}
    with ExitStack() as stack:
        rows = QUICK_ROWS if sizes.rounds == 1 else SOURCE_ROWS
        source = stack.enter_context(compare.table_of(server, rows))
        for scenario in chosen:
            if scenario.hot:
                with compare.table_of(server, 300_000) as hot:
                    _heat(hot)
                    found[scenario.name] = _rehearse(scenario, hot)
            else:
                found[scenario.name] = _rehearse(scenario, source)
            figures = ", ".join(f"{name} {value}" for name, value in found[scenario.name]["figures"].items())
            decided = ", ".join(
                f"{name} {times}" for name, times in found[scenario.name]["decisions"].items()
            )
            tell(f"{scenario.name:14} {figures}; decided: {decided}")
    return found


def _heat(source: str) -> None:
    """Give many orders that lie together to one user."""
    last = HOT_FIRST_ROW + HOT_ROWS - 1
    where = f"WHERE id BETWEEN {HOT_FIRST_ROW} AND {last}"
    servers.execute(source, f"UPDATE orders SET user_id = 0 {where}")  # noqa: S608 - two numbers of ours


def _rehearse(scenario: Scenario, source: str) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory(prefix="backfill-bench-") as folder,
        servers.simulator("--latency-ms", str(LATENCY_MS), *scenario.options) as endpoint,
    ):
        job = orders.job(source, endpoint)
        job["target"] |= {"create": dict(scenario.create), **scenario.target}
        if scenario.hot:
            job["source"]["segments"] = 1
        job_file = Path(folder) / "job.yaml"
        job_file.write_text(yaml.safe_dump(job, sort_keys=False), encoding="utf-8")
        if scenario.model:
            _post(endpoint, "model", dict(scenario.model))
        _table_create(job_file)
        if scenario.capacity:
            _post(endpoint, "capacity", {"table": orders.TABLE, **scenario.capacity})
        metrics = f"127.0.0.1:{servers.free_port()}"
        process = _start(job_file, scenario.workers, metrics)
        try:
            figures_at = f"http://{metrics}/metrics"
            report, first, latency = _drive(process, Path(folder), scenario, endpoint, figures_at)
        finally:
            servers.stop(process)
        seconds = _seconds(scenario, endpoint, first)
        figures: dict[str, float | None] = {**scenario.judge(seconds)}
        figures |= {"latency_p50_ms": quantile_ms(latency, 0.5), "latency_p99_ms": quantile_ms(latency, 0.99)}
        return {
            "title": scenario.title,
            "offered_label": scenario.offered_label,
            "figures": figures,
            "cpu_us_per_item": report["cpu_us_per_item"],
            "decisions": _decisions((Path(folder) / "err").read_text(encoding="utf-8")),
            "seconds": [_brief(second, hot=scenario.hot) for second in seconds],
        }


def _decisions(log: str) -> Mapping[str, int]:
    """Count what the writer decided, by kind and reason, out of the debug log."""
    return dict(sorted(Counter(" ".join(filter(None, found)) for found in DECISION.findall(log)).items()))


def _brief(second: Second, *, hot: bool) -> dict[str, float]:
    figures = {name: round(value, 1) for name, value in asdict(second).items()}
    if not hot:
        del figures["others"]
    return figures


def _table_create(job_file: Path) -> None:
    command = module_command("engine", "table", "create", str(job_file))
    done = subprocess.run(  # noqa: S603 - our own command line
        command, env=_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise PermanentError(f"the table could not be created: {done.stderr.strip()}")


def _start(job_file: Path, workers: int, metrics: str) -> subprocess.Popen[bytes]:
    command = module_command("engine", "run", str(job_file), "--json", "-v", "--workers", str(workers))
    command += ["--metrics-port", metrics]
    with (job_file.parent / "out").open("wb") as output, (job_file.parent / "err").open("wb") as complaint:
        return subprocess.Popen(  # noqa: S603 - our own command line
            command, cwd=job_file.parent, env=_environment(), stdout=output, stderr=complaint
        )


def _environment() -> Mapping[str, str]:
    return {**os.environ, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}


def _drive(
    process: subprocess.Popen[bytes], folder: Path, scenario: Scenario, endpoint: str, metrics: str
) -> tuple[dict[str, Any], int, Mapping[float, float]]:
    """Wait for the first write, set the steps, let the time pass, end the run.

    `folder`: where its output goes. Returns its report, the second of the first write, and the latencies
    since it has settled.
    """
    first, now = _first_write(process, endpoint)
    for at, capacity in scenario.steps:
        step = {"table": orders.TABLE, **capacity, "in_s": max(0.0, first + at - now)}
        _post(endpoint, "capacity", step)
    settled = min(SETTLE_S, scenario.seconds // 2)
    time.sleep(first + settled - now)
    before = _latencies(metrics)
    time.sleep(scenario.seconds + 1 - settled)
    after = _latencies(metrics)
    process.send_signal(signal.SIGINT)
    code = process.wait(60)
    if code not in (0, INTERRUPTED):
        raise PermanentError(f"{scenario.name}: the run ended with {code}: {(folder / 'err').read_text()}")
    since = {bound: count - before.get(bound, 0.0) for bound, count in after.items()}
    return json.loads((folder / "out").read_text()), first, since


def _first_write(process: subprocess.Popen[bytes], endpoint: str) -> tuple[int, float]:
    """Wait for the first write, forget all that was before, and return the second and the time of now."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        statistics = _get(endpoint, "statistics")
        written = [each["second"] for each in statistics["tables"][orders.TABLE]["seconds"]]
        if written:
            _post(endpoint, "reset", {})  # what was saved while the run started up isn't the limit
            return int(statistics["now_s"]), statistics["now_s"]
        time.sleep(POLL_S)
    raise PermanentError("nothing was written within two minutes")


def _seconds(scenario: Scenario, endpoint: str, first: int) -> list[Second]:
    """Turn what the simulator counted into seconds since the first write; the first one isn't whole."""
    statistics = _get(endpoint, "statistics")
    outcomes = {int(at): counts for at, counts in statistics["outcomes_by_second"].items()}
    hot = _hot_writes(endpoint) if scenario.hot else {}
    found = []
    for each in statistics["tables"][orders.TABLE]["seconds"]:
        at = each["second"]
        if not 0 < at - first <= scenario.seconds:
            continue
        units = each["write"][scenario.resource]
        counts = outcomes.get(at, {})
        found.append(
            Second(
                second=at - first,
                offered=scenario.offered_fixed or units["offered"],
                used=units["used"],
                throttled=units["throttled"],
                requests=sum(counts.values()),
                refused=sum(counts.get(name, 0) for name in THROTTLED),
                others=units["used"] - hot.get(at, 0),
            )
        )
    return found


def _hot_writes(endpoint: str) -> Mapping[int, int]:
    """Count the hot key's writes by second."""
    found: Counter[int] = Counter()
    start = 0
    while entries := _get(endpoint, f"journal?table={orders.TABLE}&start={start}&limit={JOURNAL_PAGE}")[
        "entries"
    ]:
        found.update(int(each["at_s"]) for each in entries if each["key"]["PK"]["S"] == HOT_KEY)
        start += len(entries)
    return found


def _latencies(metrics: str) -> Mapping[float, float]:
    """Read the histogram of answer times: how many were at most so many seconds."""
    with urllib.request.urlopen(metrics, timeout=10) as answer:  # noqa: S310 - our own server
        found = LATENCY_BUCKET.findall(answer.read().decode())
    return {float(bound): float(count) for bound, count in found}


def quantile_ms(latency: Mapping[float, float], q: float) -> float | None:
    """Return the latency below which the share `q` stayed, even within its bucket; None without requests."""
    bounds = sorted(latency)
    rank = q * latency[bounds[-1]] if bounds else 0.0
    floor, below = 0.0, 0.0
    for bound in bounds:
        if rank and latency[bound] >= rank:
            share = (rank - below) / (latency[bound] - below)
            return round((floor + (min(bound, LATENCY_MAX_S) - floor) * share) * 1e3, 2)
        floor, below = bound, latency[bound]
    return None


def _get(endpoint: str, what: str) -> Any:
    with urllib.request.urlopen(f"{endpoint}/_control/{what}", timeout=60) as answer:  # noqa: S310 - our own
        return json.load(answer)


def _post(endpoint: str, what: str, value: Mapping[str, Any]) -> None:
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{endpoint}/_control/{what}", json.dumps(value).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own server
        answer.read()
