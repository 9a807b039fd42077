"""A real Prometheus scrapes a run of each sick kind, and one that is well: what fires, and after how long.

The rules are those of deploy/, with their minutes made seconds. It takes some minutes: `make alerts`.
"""

import contextlib
import json
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench import servers
from engine.environment import module_command
from tests.alerts.test_rules import RULES
from tests.support import loads
from tests.support.command import Command, kill_group
from tests.support.prometheus import program

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

SCRAPE_S = 0.5
LONG_S, SICK_AFTER_S, LOOK_S = 150.0, 20.0, 60.0
ROWS = """
CREATE TABLE t (id bigint PRIMARY KEY, hot text, k text, updated_at timestamptz NOT NULL DEFAULT now());
INSERT INTO t
SELECT g, CASE WHEN g % 2 = 0 THEN 'one' ELSE 'k' || g END, 'k' || g FROM generate_series(1, 400000) g;
CREATE TABLE short (id bigint PRIMARY KEY, k text);
INSERT INTO short SELECT g, CASE WHEN g % 2 = 0 THEN 'k' || g END FROM generate_series(1, 10) g;
"""
EXPECTED = {
    "well": set(),
    "killed": {"TargetAway", "NoProgress", "RequestsFail"},
    "silent": {"TargetAway", "NoProgress", "RequestsFail"},
    "throttled": {"Throttled"},
    "hot": {"HotPartition"},
    "gone": {"RunnerGone"},
    "letters": {"DeadLetters"},
    "file": {"DeadLetters"},
}


def scaled(rules: dict[str, Any]) -> dict[str, Any]:
    """Make a rule's minutes seconds; a day stays one."""
    for rule in rules["groups"][0]["rules"]:
        rule["expr"] = re.sub(r"\[(\d+)m\]", r"[\1s]", rule["expr"]).replace("> 300", "> 5")
        if "for" in rule:
            rule["for"] = rule["for"].replace("m", "s")
    rules["groups"][0]["interval"] = "1s"
    return rules


class Scene:
    """The servers, the runs and the Prometheus of one trial."""

    def __init__(self, stack: ExitStack, folder: Path, url: str) -> None:
        self.stack = stack
        self.folder = folder
        self.url = url
        self.runs: dict[str, subprocess.Popen[str]] = {}
        self.ports = {name: servers.free_port() for name in EXPECTED}
        self.sick_at: dict[str, float] = {}

    def simulator(self, *options: str) -> tuple[str, "subprocess.Popen[bytes]"]:
        port = servers.free_port()
        command = module_command("bench.simulator", "--port", str(port), "--burst-s", "0", *options)
        process = self.stack.enter_context(servers.running(command, port=port))
        self.stack.callback(process.send_signal, signal.SIGCONT)
        return f"http://127.0.0.1:{port}", process

    def run(self, name: str, endpoint: str, *options: str, **changes: Any) -> None:
        folder = self.folder / name
        folder.mkdir()
        table = f"t-{name}"
        units = changes.pop("units", None)
        billing = (
            {"BillingMode": "PAY_PER_REQUEST"}
            if units is None
            else {"ProvisionedThroughput": {"ReadCapacityUnits": units, "WriteCapacityUnits": units}}
        )
        loads.client(endpoint).create_table(
            TableName=table,
            KeySchema=[
                {"AttributeName": "PK", "KeyType": "HASH"},
                {"AttributeName": "SK", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("PK", "SK")],
            **billing,
        )
        job = loads.job(self.url, endpoint, table, name=name, **changes)
        shown = [] if "--metrics-textfile" in options else ["--metrics-port", f"127.0.0.1:{self.ports[name]}"]
        command = Command(folder, job)
        self.runs[name] = command.start("run", "--workers", "1", *shown, *options, log=folder / "log")
        self.stack.callback(self.end, name)

    def end(self, name: str) -> None:
        run = self.runs[name]
        if run.poll() is None:
            kill_group(run)
        if run.stdout is not None:
            run.stdout.close()

    def prometheus(self) -> str:
        binary = program("prometheus")
        home = self.folder / "prometheus"
        home.mkdir()
        (home / "rules.yml").write_text(yaml.safe_dump(scaled(yaml.safe_load(RULES.read_text()))))
        files, port = servers.free_port(), servers.free_port()
        folder = str(self.folder / "textfiles")
        command = module_command("http.server", str(files), "--bind", "127.0.0.1", "--directory", folder)
        self.stack.enter_context(servers.running(command, port=files))
        targets = [f"127.0.0.1:{number}" for number in self.ports.values()]
        relabelled = yaml.safe_load(RULES.with_name("scrape.yaml").read_text())[1]["metric_relabel_configs"]
        config = {
            "global": {"scrape_interval": f"{SCRAPE_S * 1000:.0f}ms", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {"job_name": "backfill", "honor_labels": True, "static_configs": [{"targets": targets}]},
                {
                    "job_name": "node",
                    "metrics_path": "/file.prom",
                    "static_configs": [{"targets": [f"127.0.0.1:{files}"]}],
                    "metric_relabel_configs": relabelled,
                },
            ],
        }
        (home / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = [
            binary,
            f"--config.file={home / 'prometheus.yml'}",
            f"--storage.tsdb.path={home / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        self.stack.enter_context(servers.running(command, port=port, log=home / "log"))
        ready = f"http://127.0.0.1:{port}/-/ready"
        while True:
            with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(ready, timeout=10):
                return f"http://127.0.0.1:{port}"
            time.sleep(0.1)


def asked(prometheus: str, path: str) -> Any:
    with urllib.request.urlopen(f"{prometheus}/api/v1/{path}", timeout=10) as answer:
        return json.load(answer)["data"]


def active(prometheus: str) -> set[str]:
    """Return the jobs whose runs Prometheus has seen."""
    return {each["metric"]["job"] for each in asked(prometheus, "query?query=backfill_run_active")["result"]}


def fired(prometheus: str) -> set[tuple[str, str]]:
    """Return which alerts fire now, of which job."""
    alerts = asked(prometheus, "alerts")["alerts"]
    return {
        (alert["labels"]["job"], alert["labels"]["alertname"].removeprefix("Backfill"))
        for alert in alerts
        if alert["state"] == "firing"
    }


@pytest.fixture
def scene(tmp_path: Path, postgres_url: str) -> Iterator[Scene]:
    servers.execute(postgres_url, ROWS)
    (tmp_path / "textfiles").mkdir()
    with ExitStack() as stack:
        yield Scene(stack, tmp_path, postgres_url)


def start(scene: Scene) -> dict[str, "subprocess.Popen[bytes]"]:
    """Start a run of each kind; return the simulators that are to fall sick."""
    steady, _ = scene.simulator()
    killed, to_kill = scene.simulator()
    silent, to_stop = scene.simulator()
    slow = {"max_wcu": 200}
    scene.run("well", steady, target=slow)
    scene.run("gone", steady, target=slow)
    scene.run("killed", killed, target=slow)
    scene.run("silent", silent, target=slow)
    scene.run("throttled", steady, units=400)
    hot = [{"name": "Row", "key": {"PK": "{hot}", "SK": "#{id}"}, "include": "all"}]
    scene.run("hot", steady, units=30_000, items=hot)
    letters = [{"name": "Row", "key": {"PK": "{k}", "SK": "#{id}"}, "include": "all"}]
    scene.run("letters", steady, "--metrics-linger", "30", source={"table": "short"}, items=letters)
    file = str(scene.folder / "textfiles" / "file.prom")
    scene.run("file", steady, "--metrics-textfile", file, source={"table": "short"}, items=letters)
    return {"killed": to_kill, "silent": to_stop}


def test_each_sick_kind_is_told_and_a_run_that_is_well_isnt(scene: Scene) -> None:
    simulators = start(scene)
    prometheus = scene.prometheus()
    while not active(prometheus) >= EXPECTED.keys() - {"letters", "file"}:
        time.sleep(0.5)
    begun = time.monotonic()
    seen: dict[tuple[str, str], float] = {}
    stopped = False
    while (now := time.monotonic() - begun) < SICK_AFTER_S + LONG_S:
        if not stopped and now > SICK_AFTER_S:
            stopped = True
            assert fired(prometheus) <= {
                (name, alert) for name in ("letters", "file", "throttled", "hot") for alert in EXPECTED[name]
            }
            simulators["killed"].kill()
            simulators["silent"].send_signal(signal.SIGSTOP)
            kill_group(scene.runs["gone"])
            scene.sick_at = dict.fromkeys(("killed", "silent", "gone"), now)
        for alert in fired(prometheus):
            seen.setdefault(alert, now - scene.sick_at.get(alert[0], 0.0))
        if stopped and all((name, alert) in seen for name, alerts in EXPECTED.items() for alert in alerts):
            break
        time.sleep(1.0)
    assert scene.runs["well"].poll() is None, "it is to be watched to the end"
    for (name, alert), after_s in sorted(seen.items()):
        print(f"{name:10} {alert:14} after {after_s:5.1f} s")
    assert seen.keys() >= {(name, alert) for name, alerts in EXPECTED.items() for alert in alerts}
    assert not [alert for name, alert in seen if name == "well"]
    assert scene.runs["letters"].wait(timeout=60) == 3
