"""`--runner ray` on a real cluster of two nodes: they load all of it together, and lose nothing."""

import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.afar import Hosts, events, hosts, job
from tests.support.command import Ended
from tests.support.ray_cluster import Cluster, cluster, session

ROWS = 6_000
NOTICES = {"RAY_health_check_period_ms": "1000"}
"""A node that is killed is noticed after five times as long: 15 s by itself."""

HOOK = """
import itertools, time
from pathlib import Path
import polars as pl
from beside import DOUBLED, GATE

calls = itertools.count()

def twice(rows):
    while next(calls) > 4 and not Path(GATE).exists():
        time.sleep(0.02)
    return rows.with_columns(doubled=pl.col("id") * DOUBLED)
"""
"""A hook that lets a few batches of each process pass, and the others once a gate is open."""


@pytest.fixture(scope="module")
def source_url(postgres_server: str) -> Iterator[str]:
    """A database with one table of rows."""
    with events(postgres_server, ROWS) as url:
        yield url


@pytest.fixture(scope="module")
def nodes(source_url: str) -> Iterator[Cluster]:
    """A head and another node, of one CPU each, whose environment names the source."""
    with cluster(1, 1, SOURCE_URL=source_url, **NOTICES) as made:
        yield made


@pytest.fixture
def scene(source_url: str, dynoxide: str, tmp_path: Path) -> Iterator[Hosts]:
    with hosts(tmp_path, source_url, job(dynoxide, f"t-{uuid.uuid4().hex[:8]}")) as made:
        made.create()
        yield made


def on_ray(scene: Hosts, nodes: Cluster, *arguments: str, **env: str) -> Any:
    at = ("--runner", "ray", "--ray-address", nodes.address)
    return scene.run_alone(*at, *arguments, **{**nodes.env, **env})


def gated(scene: Hosts) -> Path:
    """Have a load last until a file is there, so that something can happen in the middle; return which."""
    scene.silence_s, scene.margin_s = 4.0, 1.0
    gate = scene.folder / "gate"
    (scene.folder / "hook.py").write_text(HOOK)
    (scene.folder / "beside.py").write_text(f"DOUBLED, GATE = 2, {str(gate)!r}\n")
    scene.job["transform"] = {"hook": "hook:twice", "keeps": ["id"]}
    return gate


def joined(scene: Hosts, runner: Any, count: int) -> None:
    """Wait until so many have joined."""
    until = time.monotonic() + 90
    while scene.told(runner).count(" joins") < count:
        assert runner.poll() is None, f"it has ended before: {scene.told(runner)}"
        assert time.monotonic() < until, scene.told(runner)
        time.sleep(0.05)


def held_to_all(scene: Hosts, ended: Ended) -> None:
    """See that a run is complete, and that what it wrote is what its source has."""
    assert ended.code == 0, ended.stderr
    report = ended.report
    assert (report["rows_read"], report["items_written"], report["outcome"]) == (ROWS, ROWS, "complete")
    assert scene.items() == {
        (json.dumps({"S": f"EVENT#{n}"}), json.dumps({"S": "ROW"})): {
            "PK": {"S": f"EVENT#{n}"},
            "SK": {"S": "ROW"},
            "id": {"N": str(n)},
            "body": {"S": "x" * (n % 50)},
            "doubled": {"N": str(2 * n)},
        }
        for n in range(1, ROWS + 1)
    }
    assert not list(scene.folder.rglob("workers-elsewhere")), "it has ended cleanly"


KNOWN = "a5" * 32
"""The token of a run whose tokens aren't drawn."""


def known_to_ray(nodes: Cluster, *secrets: str) -> list[str]:
    """The files, command lines and environments of the cluster in which one of these stands."""
    places = [path for path in nodes.folder.rglob("*") if path.is_file()]
    for node in nodes.nodes:
        for pid, _ in session(node.pid):
            places += [Path(f"/proc/{pid}/cmdline"), Path(f"/proc/{pid}/environ")]
    found = []
    for place in places:
        with contextlib.suppress(OSError):
            text = place.read_bytes()
            found += [str(place) for secret in secrets if secret.encode() in text]
    return found


def actors(nodes: Cluster) -> list[int]:
    """The processes of workers on all nodes."""
    return [pid for node in nodes.nodes for pid, name in session(node.pid) if "ray::WorkerActor" in name]


def test_both_nodes_load_all_of_it_with_a_hook_that_they_lack(scene: Hosts, nodes: Cluster) -> None:
    gate = gated(scene)
    known = f"import secrets; secrets.token_hex = lambda count: {KNOWN!r}"
    runner = on_ray(scene, nodes, "--workers", "4", first=known)
    joined(scene, runner, 2)
    scene.said(runner, "the Ray cluster has no room now")
    assert known_to_ray(nodes, KNOWN, "itertools.count()") == []
    assert known_to_ray(nodes, nodes.token) != [], "what is looked for is found where it stands"
    gate.touch()
    ended = scene.ended(runner)
    held_to_all(scene, ended)
    assert ended.stderr.count("the Ray cluster has no room now") == 1, ended.stderr
    assert scene.url not in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr


def test_a_cluster_helps_to_verify_and_to_plan(scene: Hosts, nodes: Cluster) -> None:
    gate = gated(scene)
    gate.touch()
    assert scene.ended(scene.run_alone()).code == 0
    gate.unlink()
    scene.command = "verify"
    command = on_ray(scene, nodes, "--full", "--workers", "2")
    joined(scene, command, 2)
    gate.touch()
    ended = scene.ended(command)
    assert (ended.code, ended.report["matched"]) == (0, ROWS), ended.stderr
    scene.command = "plan"
    ended = scene.ended(on_ray(scene, nodes, "--full", "--sample", "200", "--workers", "1"))
    assert (ended.code, ended.report["items"]["total"]) == (0, ROWS), ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_variable_that_a_node_lacks_is_told_and_the_runner_reads_alone(
    scene: Hosts, nodes: Cluster
) -> None:
    gate = gated(scene)
    table = scene.job["target"]["table"]
    scene.job["target"]["table"] = "${ONLY_HERE}"
    runner = on_ray(scene, nodes, "--workers", "2", ONLY_HERE=table)
    scene.said(runner, "can't take part: ")
    gate.touch()
    ended = scene.ended(runner)
    scene.job["target"]["table"] = table
    held_to_all(scene, ended)
    assert "ONLY_HERE isn't set" in ended.stderr


def test_where_no_cluster_is_nothing_is_written(scene: Hosts, nodes: Cluster) -> None:
    wrong = {
        "there (": scene.run_alone("--runner", "ray", "--ray-address", f"127.0.0.1:{scene.port}"),
        "RAY_AUTH_TOKEN": on_ray(scene, nodes, RAY_AUTH_TOKEN="x" * 64),
        "try: pip install 'backfill[ray]'": scene.run_alone(
            "--runner", "ray", first="import sys; sys.modules['ray'] = None"
        ),
    }
    for sentence, runner in wrong.items():
        ended = scene.ended(runner)
        assert (ended.code, sentence in ended.stderr) == (2, True), ended.stderr
        assert "Traceback" not in ended.stderr
    assert not list(scene.folder.rglob("state.sqlite"))


def test_a_runner_is_killed_and_then_a_node_and_nothing_is_lost_or_left(scene: Hosts, nodes: Cluster) -> None:
    gate = gated(scene)
    killed = on_ray(scene, nodes, "--workers", "2")
    joined(scene, killed, 1)
    killed.kill()
    until = time.monotonic() + 30
    while actors(nodes):
        assert time.monotonic() < until, "actors are left behind"
        time.sleep(0.1)
    again = on_ray(scene, nodes, "--workers", "2")
    joined(scene, again, 2)
    nodes.kill(nodes.nodes[1])
    scene.said(again, "is lost: its connection has ended")
    scene.said(again, "is gone, and a worker with it; another one joins where there is room")
    gate.touch()
    ended = scene.ended(again)
    held_to_all(scene, ended)
    assert "takes its place" not in ended.stderr, "a node's end was taken for a worker's"
    assert not actors(nodes)
