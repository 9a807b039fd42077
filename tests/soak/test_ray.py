"""A Ray cluster of two nodes: workers are killed and put to sleep, nodes killed at work and at its beginning.

Run by `make soak-hosts`; prints what it measured.
"""

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.campaign.history import Entry, written
from tests.campaign.stub import RUNNER, TABLE
from tests.campaign.target import Stub
from tests.fault.test_workers_hosts import held_to_one_writer
from tests.integration.test_ray import actors, joined, on_ray
from tests.soak.test_hosts import CAP, WINDOW_S, Moments, fill, keeping, show, until, windows
from tests.support.afar import Hosts, hosts, job
from tests.support.apart import stub
from tests.support.command import Ended
from tests.support.loads import assert_balanced
from tests.support.ray_cluster import Cluster, cluster, session

__all__ = ["stub"]
pytestmark = [pytest.mark.soak, pytest.mark.timeout(1_200)]

ROWS = 300_000
EARLY_ROWS = 120_000
DOCUMENTS = 60_000
ASLEEP_S = 15.0
"""Longer than it takes until what a silent worker had is another's: 4 and 5 and 1 s."""
NAMED = f"import os\nos.environ['AWS_ACCESS_KEY_ID'] = f'{RUNNER}-{{os.getpid()}}'\n"
"""What each Python of a node does first, so that the stub can tell who writes."""
SILENT = """
import signal, sys, threading, time

def stop():
    os.kill(os.getpid(), signal.SIGSTOP)

def once_ray_is_there():
    while not hasattr(sys.modules.get("ray"), "util"):
        time.sleep(0.001)
    sys.modules["ray"].util.get_node_ip_address = stop

if "default_worker.py" in open("/proc/self/cmdline").read():
    threading.Thread(target=once_ray_is_there, daemon=True).start()
"""
"""Besides, on a node whose worker stops when it is asked where it is. One whose process hasn't registered yet
would show nothing: Ray places it anew by itself."""


@contextmanager
def on_two_nodes(
    folder: Path, stub: Stub, url: str, second: str = "", **source: Any
) -> Iterator[tuple[Hosts, Cluster, Mapping[str, str]]]:
    """Give a job of a source, two nodes of one CPU each, and the environment that nodes have.

    `second`: what each Python of the second one does besides.
    """
    for name, does in {"node": NAMED, "second": NAMED + second}.items():
        (folder / name).mkdir()
        (folder / name / "sitecustomize.py").write_text(does)
    env = {"SOURCE_URL": url, "PYTHONPATH": str(folder / "node")}
    made = job(stub.endpoint, TABLE, max_wcu=CAP)
    made["source"] |= {"batch_rows": 2_000, "segments": 60, **source}
    with cluster(1, **env) as nodes, hosts(folder, url, made, silence_s=4.0, margin_s=1.0) as scene:
        nodes.start(1, **{**env, "PYTHONPATH": str(folder / "second")})
        yield scene, nodes, env


def stopped(node: int) -> list[int]:
    """The processes of workers of a node that are stopped."""
    return [pid for pid, name in session(node) if "ray::WorkerActor" in name and state(pid) == "T"]


def state(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def name_of(pid: int) -> str:
    return f"{RUNNER}-{pid}"


def body_of(number: int) -> str:
    return md5(str(number).encode(), usedforsecurity=False).hexdigest()


def item_of(number: int) -> dict[str, Any]:
    place = {"PK": {"S": f"EVENT#{number}"}, "SK": {"S": "ROW"}}
    return {**place, "id": {"N": str(number)}, "body": {"S": body_of(number)}}


def held_to_all(
    ended: Ended, stub: Stub, history: Sequence[Entry], lost: Sequence[int], wanted: Mapping[str, Any]
) -> None:
    """See that a run lost nothing, counted it once, kept the cap, and let nobody write behind his time."""
    assert ended.code == 0, ended.stderr
    report, rows = ended.report, len(wanted)
    assert (report["rows_read"], report["items_written"], report["outcome"]) == (rows, rows, "complete")
    assert_balanced(report)
    assert stub.items() == wanted
    assert {name_of(pid) for pid in lost} <= {entry.runner for entry in history}, "one of them wrote nothing"
    again = held_to_one_writer(list(history))
    assert again > 0, "nothing that was under way was done again: the test says nothing"
    print(f"{again:,} keys by more than one, {written(history) - rows:,} writes done again")
    assert max(windows(history)) <= CAP * WINDOW_S * 1.02


def test_300_000_rows_while_workers_and_then_a_node_are_lost(
    stub: Stub, postgres_url: str, tmp_path: Path
) -> None:
    fill(postgres_url, ROWS, "md5(g::text)")
    moments = Moments()
    with on_two_nodes(tmp_path, stub, postgres_url) as (scene, nodes, env):
        runner = on_ray(scene, nodes, "--workers", "2", AWS_ACCESS_KEY_ID=f"{RUNNER}-head")
        joined(scene, runner, 2)
        moments.note("both have joined")
        until(stub, ROWS // 6)
        killed = keeping(scene.told(runner))
        moments.note("the worker that keeps the view is killed")
        os.kill(killed, signal.SIGKILL)
        joined(scene, runner, 3)
        until(stub, ROWS // 3)
        asleep = next(pid for pid in actors(nodes) if pid != keeping(scene.told(runner)))
        moments.note(f"the one that doesn't keep it now sleeps for {ASLEEP_S:.0f} s")  # a keeper comes again
        os.kill(asleep, signal.SIGSTOP)
        slept_s = time.monotonic()
        time.sleep(ASLEEP_S)
        os.kill(asleep, signal.SIGCONT)
        joined(scene, runner, 4)
        moments.note("another one has taken its place")
        until(stub, 3 * ROWS // 5)
        on_node = actors(nodes)[-1]
        moments.note("a node is killed, and one more is started")
        nodes.kill(nodes.nodes[1])
        nodes.start(1, **env)
        joined(scene, runner, 5)
        moments.note("a worker has joined on that")
        ended = scene.ended(runner, 600)
        moments.note("the run has ended")
    history = stub.history()
    show(moments, history, ended.report)
    wanted = {f"EVENT#{number}|ROW": item_of(number) for number in range(1, ROWS + 1)}
    held_to_all(ended, stub, history, (killed, asleep, on_node), wanted)
    slept = [entry.arrived for entry in history if entry.runner == name_of(asleep)]
    assert max(slept) < slept_s + 1.0, "it wrote when it woke"
    assert "is gone, and a worker with it" in ended.stderr, "a node's end was taken for a worker's"


def test_a_node_that_is_killed_while_its_worker_starts_costs_no_replacement(
    stub: Stub, postgres_url: str, tmp_path: Path
) -> None:
    fill(postgres_url, EARLY_ROWS, "md5(g::text)")
    moments = Moments()
    with on_two_nodes(tmp_path, stub, postgres_url, SILENT) as (scene, nodes, env):
        runner = on_ray(scene, nodes, "--workers", "2", AWS_ACCESS_KEY_ID=f"{RUNNER}-head")
        joined(scene, runner, 1)
        until_s = time.monotonic() + 60
        while not stopped(nodes.nodes[1].pid):
            assert time.monotonic() < until_s, "no worker was placed on the second node"
            time.sleep(0.1)
        moments.note("one has joined, the other has started and says nothing")
        nodes.kill(nodes.nodes[1])
        moments.note("its node is killed, and one more is started")
        nodes.start(1, **env)
        joined(scene, runner, 2)
        moments.note("a worker has joined on that")
        ended = scene.ended(runner, 300)
        moments.note("the run has ended")
    history = stub.history()
    show(moments, history, ended.report)
    wanted = {f"EVENT#{number}|ROW": item_of(number) for number in range(1, EARLY_ROWS + 1)}
    assert ended.code == 0, ended.stderr
    assert stub.items() == wanted
    assert "a Ray node is gone, and a worker with it" in ended.stderr, ended.stderr
    assert "takes its place" not in ended.stderr, "a node's end was taken for a worker's"


def test_a_collection_while_a_worker_is_killed(stub: Stub, mongodb_url: str, tmp_path: Path) -> None:
    moments = Moments()
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        collection = client[f"d_{uuid.uuid4().hex[:8]}"].c
        numbers = range(1, DOCUMENTS + 1)
        collection.insert_many([{"_id": n, "id": n, "body": body_of(n)} for n in numbers])
        named = {"type": "mongodb", "database": collection.database.name, "collection": "c"}
        with on_two_nodes(tmp_path, stub, mongodb_url, **named) as (scene, nodes, _):
            del scene.job["source"]["table"]
            scene.job["items"][0]["key"]["PK"] = "EVENT#{_id}"
            runner = on_ray(scene, nodes, "--workers", "2", AWS_ACCESS_KEY_ID=f"{RUNNER}-head")
            joined(scene, runner, 2)
            moments.note("both have joined")
            until(stub, DOCUMENTS // 2)
            killed = actors(nodes)[0]
            moments.note("a worker is killed")
            os.kill(killed, signal.SIGKILL)
            ended = scene.ended(runner, 300)
            moments.note("the run has ended")
    history = stub.history()
    show(moments, history, ended.report)
    wanted = {f"EVENT#{n}|ROW": {**item_of(n), "_id": {"N": str(n)}} for n in numbers}
    held_to_all(ended, stub, history, (killed,), wanted)
