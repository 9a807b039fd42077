"""A Ray cluster of nodes on this machine, each with processes of its own that can be killed as a host can."""

import contextlib
import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.servers import free_port

START_S = 180.0


def node_ip() -> str:
    """Return the address by which Ray knows this machine, without loading Ray into the tests."""
    asked = "import ray; print(ray.util.get_node_ip_address())"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@dataclass
class Cluster:
    """Nodes that were started here, the head first; each is a session of processes."""

    ip: str
    port: int
    folder: Path
    token: str = field(default_factory=lambda: secrets.token_hex(32))
    """Ray's own, without which nobody takes part in the cluster."""
    nodes: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"{self.ip}:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}

    def start(self, cpus: int, **env: str) -> "subprocess.Popen[bytes]":
        """Start one more node."""
        place = (
            (f"--address={self.address}",)
            if self.nodes
            else ("--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self.folder}")
        )
        size = (f"--num-cpus={cpus}", "--object-store-memory=80000000", "--disable-usage-stats")
        ports = ("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0")
        program = [str(Path(sys.executable).with_name("ray")), "start", "--block", *place, *size, *ports]
        with (self.folder.parent / f"{self.folder.name}-{len(self.nodes)}.log").open("wb") as log:
            node = subprocess.Popen(
                program,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={
                    **os.environ,
                    **self.env,
                    "PYTHONWARNINGS": "ignore",
                    "RAY_USAGE_STATS_ENABLED": "0",
                    **env,
                },
            )
        self.nodes.append(node)
        return node

    def listens(self) -> None:
        """Wait until the head takes connections."""
        until = time.monotonic() + START_S
        while time.monotonic() < until and self.nodes[0].poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((self.ip, self.port), 1):
                return
            time.sleep(0.05)
        pytest.fail(f"Ray's head took no connection within {START_S:g} s")

    def kill(self, node: "subprocess.Popen[bytes]") -> None:
        """End a node as power loss does: all of its processes at once."""
        for pid, _ in session(node.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        node.wait()


def session(leader: int) -> list[tuple[int, str]]:
    """Return the processes of a session, whatever groups they are in, with their command lines."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                found.append((int(process.name), (process / "cmdline").read_text()))
    return found


@contextlib.contextmanager
def cluster(*cpus: int, **env: str) -> Iterator[Cluster]:
    """Give a cluster of a node for each number of CPUs; skip where there can be none."""
    if sys.platform != "linux":
        pytest.skip("nodes are killed by what /proc tells")
    if importlib.util.find_spec("ray") is None:
        pytest.skip("there is no Ray for this machine")  # else it is locked, and installed
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        made = Cluster(node_ip(), free_port(), Path(folder, "s"))
        made.folder.mkdir()
        try:
            for number in cpus:
                made.start(number, **env)
                made.listens()
            yield made
        finally:
            for node in made.nodes:
                made.kill(node)
