"""Hosts of one's own: network namespaces on a bridge, to be cut off from one another, in one direction too.

Invariant: nothing of them is left behind; what stands here needs root and Debian's iproute2.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


@dataclass(frozen=True, slots=True)
class Host:
    """A host: the namespace in which its processes run, and its address."""

    namespace: str
    address: str

    def drops(self, other: "Host") -> None:
        """Have it send nothing more to another one; what that one sends still comes."""
        ip("-n", self.namespace, "route", "add", "blackhole", f"{other.address}/32")

    def sends(self, other: "Host") -> None:
        """Have it send again."""
        ip("-n", self.namespace, "route", "del", "blackhole", f"{other.address}/32")


@dataclass(frozen=True, slots=True)
class Network:
    """Some hosts, and the address under which this process's servers are reached from there."""

    gateway: str
    hosts: tuple[Host, ...]


def cut(one: Host, other: Host) -> None:
    """Cut two hosts off from one another; both still reach everybody else."""
    one.drops(other)
    other.drops(one)


def why_not() -> str | None:
    """Say why there can be no namespaces here; None: there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "there is no iproute2"
    probe = f"bfprobe{os.getpid()}"
    try:
        ip("netns", "add", probe)
        ip("link", "add", probe[:13] + "b", "type", "bridge")
    except subprocess.CalledProcessError as error:
        return f"network namespaces aren't allowed here: {error.stderr.decode().strip()}"
    finally:
        for words in (("link", "del", probe[:13] + "b"), ("netns", "del", probe)):
            with suppress(subprocess.CalledProcessError):
                ip(*words)
    return None


@contextmanager
def network(count: int) -> Iterator[Network]:
    """Make so many hosts, and leave nothing of them."""
    tag = os.getpid() % 60_000
    net = f"10.{100 + tag // 250 % 100}.{tag % 250}"
    bridge = f"bf{tag}"
    hosts = [Host(f"bf{tag}h{number}", f"{net}.{number + 2}") for number in range(count)]
    try:
        ip("link", "add", bridge, "type", "bridge")
        ip("addr", "add", f"{net}.1/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for number, host in enumerate(hosts):
            outer, inner = f"bf{tag}o{number}", f"bf{tag}i{number}"
            ip("netns", "add", host.namespace)
            ip("link", "add", outer, "type", "veth", "peer", "name", inner)
            ip("link", "set", outer, "master", bridge, "up")
            ip("link", "set", inner, "netns", host.namespace)
            ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", inner)
            ip("-n", host.namespace, "link", "set", inner, "up")
            ip("-n", host.namespace, "link", "set", "lo", "up")
        yield Network(f"{net}.1", tuple(hosts))
    finally:
        for host in hosts:
            with suppress(subprocess.CalledProcessError):
                ip("netns", "del", host.namespace)
        with suppress(subprocess.CalledProcessError):
            ip("link", "del", bridge)
