"""Hosts of one's own: network namespaces on a bridge, to be cut off from one another, in one direction too.

Invariant: no two networks of this machine share a name or an address, and nothing of them is left behind.
What stands here needs root and Debian's iproute2.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

NETWORKS = 100 * 256
"""From 10.100.0.0/24 to 10.199.255.0/24."""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=120)


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
    try:
        with network(1):
            return None
    except subprocess.CalledProcessError as error:
        return f"network namespaces aren't allowed here: {error.stderr.decode().strip()}"


def _bridged() -> int:
    """Make a bridge that is nobody else's on this machine; return its number, from which all names follow."""
    while True:
        number = secrets.randbelow(NETWORKS)
        try:
            ip("link", "add", f"bf{number}", "type", "bridge")
        except subprocess.CalledProcessError:
            if not Path("/sys/class/net", f"bf{number}").exists():
                raise
        else:
            return number


@contextmanager
def network(count: int) -> Iterator[Network]:
    """Make so many hosts, and leave nothing of them. Raises: CalledProcessError where that isn't allowed."""
    number = _bridged()
    bridge, net = f"bf{number}", f"10.{100 + number // 256}.{number % 256}"
    hosts = [Host(f"{bridge}h{place}", f"{net}.{place + 2}") for place in range(count)]
    ends = [(f"{bridge}o{place}", f"{bridge}i{place}") for place in range(count)]
    try:
        ip("addr", "add", f"{net}.1/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for host, (outer, inner) in zip(hosts, ends, strict=True):
            ip("netns", "add", host.namespace)
            ip("link", "add", outer, "type", "veth", "peer", "name", inner)
            ip("link", "set", outer, "master", bridge, "up")
            ip("link", "set", inner, "netns", host.namespace)
            ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", inner)
            ip("-n", host.namespace, "link", "set", inner, "up")
            ip("-n", host.namespace, "link", "set", "lo", "up")
        yield Network(f"{net}.1", tuple(hosts))
    finally:
        # Links by name: those of a namespace that is gone would end some time later.
        links = [("link", "del", name) for name in (*(outer for outer, _ in ends), bridge)]
        for words in (*links, *(("netns", "del", host.namespace) for host in hosts)):
            with suppress(subprocess.CalledProcessError):
                ip(*words)
