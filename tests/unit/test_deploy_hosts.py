"""What stands in deploy/kubernetes/hosts fits this program, and what belongs together there has one name."""

from pathlib import Path
from typing import Any

import yaml

from engine import __version__
from engine.cli.join import worker
from engine.cli.load import run
from engine.cli.options import Invocation
from engine.commands.run.listening import address
from engine.exits import Exit
from engine.run.greeting import TOKEN

HOSTS = Path(__file__).parents[2] / "deploy" / "kubernetes" / "hosts"


def documents(name: str) -> dict[tuple[str, str], Any]:
    """The objects of a file by their kinds and names."""
    read = yaml.safe_load_all((HOSTS / name).read_text())
    return {(each["kind"], each["metadata"]["name"]): each for each in read}


def taken(words: list[str]) -> dict[str, Any]:
    """What the command line makes of these words."""
    command = {"run": run, "worker": worker}[words[0]]
    with command.make_context(words[0], words[1:], obj=Invocation()) as context:
        return context.params


def held_in(pod: dict[str, Any]) -> None:
    """See that a pod has no more than it needs."""
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    container = pod["containers"][0]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert {mount["name"] for mount in container.get("volumeMounts", [])} == {
        volume["name"] for volume in pod.get("volumes", [])
    }


def test_workers_dial_in_where_the_runner_listens() -> None:
    made = documents("indexed-job.yaml")
    runner, others = made["Job", "backfill-runner"]["spec"], made["Job", "backfill-workers"]["spec"]
    service = made["Service", "backfill-runner"]["spec"]
    pods = [job["template"]["spec"] for job in (runner, others)]
    for pod in pods:
        held_in(pod)
        assert pod["containers"][0]["image"] == f"backfill:{__version__}"
        assert "backfill-workers" in [each["secretRef"]["name"] for each in pod["containers"][0]["envFrom"]]
    words = taken(pods[0]["containers"][0]["args"])
    dialled = address(taken(pods[1]["containers"][0]["args"])["head"], "HEAD:PORT")
    port = service["ports"][0]
    named = {each["name"]: each["containerPort"] for each in pods[0]["containers"][0]["ports"]}
    assert address(words["listen"], "--listen").port == named[port["targetPort"]]
    assert (dialled.host, dialled.port) == ("backfill-runner", port["port"])
    assert words["expect"] == others["completions"] == others["parallelism"]
    assert others["completionMode"] == "Indexed"
    assert service["selector"].items() <= runner["template"]["metadata"]["labels"].items()
    assert not service["selector"].items() <= others["template"]["metadata"]["labels"].items()
    assert TOKEN in (HOSTS / "indexed-job.yaml").read_text()
    policy = made["NetworkPolicy", "backfill-workers"]["spec"]
    assert [each["port"] for rule in policy["ingress"] for each in rule["ports"]] == [port["port"]]


def test_a_worker_that_is_refused_is_not_started_again_and_one_that_lost_its_runner_is() -> None:
    job = documents("indexed-job.yaml")["Job", "backfill-workers"]["spec"]
    actions = {
        code: rule["action"]
        for rule in job["podFailurePolicy"]["rules"]
        for code in rule.get("onExitCodes", {}).get("values", [])
    }
    assert actions == {Exit.UNFIT: "FailIndex", Exit.INTERRUPTED: "Ignore"}
    assert job["backoffLimitPerIndex"] > 1


def test_the_rayjob_runs_a_command_that_exists_on_a_cluster_that_lets_in_who_has_its_token() -> None:
    job = documents("rayjob.yaml")["RayJob", "backfill-orders"]["spec"]
    program, *words = job["entrypoint"].split()
    assert program == "backfill"
    params = taken(words)
    assert (params["runner"], params["ray_address"]) == ("ray", None)
    cluster = job["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    pods = [cluster["headGroupSpec"]["template"]["spec"], cluster["workerGroupSpecs"][0]["template"]["spec"]]
    room = 0
    for pod in pods:
        held_in(pod)
        assert pod["containers"][0]["image"] == f"backfill-ray:{__version__}"
        assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "backfill-orders"}}]
        room = int(pod["containers"][0]["resources"]["limits"]["cpu"])
    assert params["workers"] == room * cluster["workerGroupSpecs"][0]["maxReplicas"]
