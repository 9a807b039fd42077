"""What stands in deploy/ fits this program: metrics and commands that exist, exit codes as they are meant."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine import __version__
from engine.cli.load import run
from engine.cli.options import Invocation
from engine.contracts.feed import LogFigures
from engine.report import EXIT_CODES
from engine.show.metrics import Metrics, parse_address
from engine.show.metrics_server import PROBES, healthy
from tests.support.runs import run_started, tick, totals

DEPLOY = Path(__file__).parents[2] / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def exposed() -> dict[str, set[str]]:
    """Every sample's name with its labels."""
    metrics = Metrics()
    metrics.on(run_started(last_success="2024-01-15T10:00:00Z"))
    metrics.on(tick(meter=totals(), watermark_lag_s=1.0, log=LogFigures(2.0, 1)))
    found: dict[str, set[str]] = {}
    for family in metrics.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions(tree: Any) -> list[str]:
    """Every PromQL expression in a dashboard or a rule file."""
    if isinstance(tree, dict):
        own = [value for key, value in tree.items() if key in {"expr", "query"} and isinstance(value, str)]
        return own + [found for value in tree.values() for found in expressions(value)]
    if isinstance(tree, list):
        return [found for value in tree for found in expressions(value)]
    return []


def dashboard() -> Any:
    return json.loads((DEPLOY / "grafana" / "backfill.json").read_text())


def alerts() -> Any:
    return yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())


@pytest.mark.parametrize("tree", [dashboard(), alerts()], ids=["dashboard", "alerts"])
def test_expressions_name_only_what_is_exposed(tree: Any) -> None:
    samples = exposed()
    named = [name for found in expressions(tree) for name in re.findall(r"backfill_\w+", found)]
    assert named
    assert set(named) - set(samples) == set()
    labels = set().union(*samples.values())
    for found in expressions(tree):
        assert found.count("(") == found.count(")")
        grouped = {label for by in re.findall(r"by \(([\w, ]+)\)", found) for label in by.split(", ")}
        assert grouped <= labels, found


def test_every_metric_is_on_the_dashboard() -> None:
    text = " ".join(expressions(dashboard()))
    for name in exposed():
        assert re.sub(r"_(count|sum)$", "_bucket", name) in text, name


def test_panels_dont_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def pods() -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    found = []
    for path in MANIFESTS:
        for document in yaml.safe_load_all(path.read_text()):
            spec = document.get("spec", {}).get("jobTemplate", document).get("spec", {})
            if "template" in spec:
                found.append((document["metadata"]["name"], spec, spec["template"]["spec"]))
    return found


def parses(arguments: list[str]) -> bool:
    """Whether the command line takes these arguments."""
    with run.make_context("run", list(arguments), obj=Invocation()) as context:
        return bool(context.params)


@pytest.mark.parametrize(("name", "job", "pod"), pods(), ids=[name for name, _, _ in pods()])
def test_manifests_run_commands_that_exist(name: str, job: dict[str, Any], pod: dict[str, Any]) -> None:
    container = pod["containers"][0]
    assert container["args"][0] == "run"
    assert parses(container["args"][1:])
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}
    actions = {
        code: rule["action"]
        for rule in job["podFailurePolicy"]["rules"]
        for code in rule.get("onExitCodes", {}).get("values", [])
    }
    assert actions[EXIT_CODES["interrupted"]] == "Ignore"
    assert actions[EXIT_CODES["complete_with_dead_letters"]] == "FailJob"
    assert EXIT_CODES["failed"] not in actions, "a failed run is gone on with"


@pytest.mark.parametrize(("name", "job", "pod"), pods(), ids=[name for name, _, _ in pods()])
def test_pods_are_probed_where_there_is_an_answer_and_say_why_they_ended(
    name: str, job: dict[str, Any], pod: dict[str, Any]
) -> None:
    container = pod["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert (
        parse_address(container["args"][container["args"].index("--metrics-port") + 1])[1] == ports["metrics"]
    )
    for probe in ("livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        assert (asked["path"] in PROBES, asked["port"] in ports) == (True, True)
    assert PROBES[container["livenessProbe"]["httpGet"]["path"]] is healthy
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_the_accounts_of_pods_are_made() -> None:
    documents = [each for path in MANIFESTS for each in yaml.safe_load_all(path.read_text())]
    made = {each["metadata"]["name"] for each in documents if each["kind"] == "ServiceAccount"}
    assert {pod["serviceAccountName"] for _, _, pod in pods()} == made


def test_the_image_has_one_name() -> None:
    built = re.search(r"docker build .*-t (\S+) \.", (DEPLOY / "Dockerfile").read_text())
    assert built is not None
    images = {container["image"] for _, _, pod in pods() for container in pod["containers"]}
    assert images == {built[1]} == {f"backfill:{__version__}"}


def test_a_second_instance_of_the_unit_doesnt_want_the_firsts_port() -> None:
    unit = (DEPLOY / "systemd" / "backfill@.service").read_text()
    command = re.search(r"^ExecStart=(.+)$", unit, re.MULTILINE)
    assert command is not None
    assert not re.search(r"\d{4}", command[1])
    assert "$BACKFILL_METRICS" in command[1]
    assert re.search(r"^Environment=BACKFILL_METRICS=$", unit, re.MULTILINE), "unset it would be told"


@pytest.mark.parametrize(("name", "job", "pod"), pods(), ids=[name for name, _, _ in pods()])
def test_pods_have_no_more_than_they_need(name: str, job: dict[str, Any], pod: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    inside = pod["containers"][0]["securityContext"]
    assert inside["capabilities"] == {"drop": ["ALL"]}
    assert (inside["readOnlyRootFilesystem"], inside["allowPrivilegeEscalation"]) == (True, False)


@pytest.mark.parametrize(("name", "job", "pod"), pods(), ids=[name for name, _, _ in pods()])
def test_a_scrape_gets_through_to_a_pod(name: str, job: dict[str, Any], pod: dict[str, Any]) -> None:
    arguments = pod["containers"][0]["args"]
    host, port = parse_address(arguments[arguments.index("--metrics-port") + 1])
    assert host == "0.0.0.0"
    policy = yaml.safe_load((DEPLOY / "kubernetes" / "networkpolicy.yaml").read_text())["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= job["template"]["metadata"]["labels"].items()
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [each["port"] for rule in policy["ingress"] for each in rule["ports"]] == [port]
    assert {each["port"] for rule in policy["egress"] for each in rule["ports"]} == {53, 80, 443, 5432}


def test_the_unit_has_no_more_than_it_needs() -> None:
    unit = (DEPLOY / "systemd" / "backfill@.service").read_text().splitlines()
    for line in (
        "CapabilityBoundingSet=", "NoNewPrivileges=yes", "RestrictNamespaces=yes", "LimitCORE=0",
        "SystemCallFilter=@system-service", "SystemCallFilter=~@privileged @resources",
    ):  # fmt: skip
        assert line in unit


def test_the_unit_runs_a_command_that_exists() -> None:
    unit = (DEPLOY / "systemd" / "backfill@.service").read_text()
    command = re.search(r"^ExecStart=\S+ run (.+)$", unit, re.MULTILINE)
    assert command is not None
    assert parses(command[1].replace("$BACKFILL_METRICS", "--metrics-port 127.0.0.1:9465").split())
    assert "RestartPreventExitStatus=2 3" in unit


def test_the_image_takes_along_what_it_copies() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    for name in " ".join(copied).split():
        assert f"!{name}" in ignored
        assert (DEPLOY.parent / name).exists(), name
