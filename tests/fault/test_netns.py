"""Networks of several tests stand side by side, and one after the other, in one process."""

import subprocess
from pathlib import Path

import pytest

from tests.support import netns


@pytest.fixture(autouse=True)
def allowed() -> None:
    if (why := netns.why_not()) is not None:
        pytest.skip(why)


def number_of(network: netns.Network) -> int:
    return int(network.hosts[0].namespace.removeprefix("bf").partition("h")[0])


def left(network: netns.Network) -> list[str]:
    """The names that are left of a network."""
    bridge = f"bf{number_of(network)}"
    names = [path.name for folder in ("/sys/class/net", "/run/netns") for path in Path(folder).glob("bf*")]
    return [name for name in names if name == bridge or name.startswith((f"{bridge}h", f"{bridge}o"))]


def test_two_at_once_share_nothing_and_each_reaches_its_own_gateway() -> None:
    with netns.network(2) as one, netns.network(2) as other:
        addresses = {network.gateway for network in (one, other)}
        addresses |= {host.address for network in (one, other) for host in network.hosts}
        assert len(addresses) == 6
        for network in (one, other):
            assert len(left(network)) == 5
            for host in network.hosts:
                route = ["ip", "-n", host.namespace, "route", "get", network.gateway]
                subprocess.run(route, check=True, capture_output=True)
    assert left(one) == left(other) == []


def test_a_name_that_is_another_ones_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with netns.network(1) as one:
        drawn = iter((number_of(one), (number_of(one) + 1) % netns.NETWORKS))
        monkeypatch.setattr("tests.support.netns.secrets.randbelow", lambda _: next(drawn))
        with netns.network(1) as other:
            assert other.gateway != one.gateway
            assert left(one) != []


def test_one_follows_another_of_the_same_name_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with netns.network(2) as before:
        pass
    monkeypatch.setattr("tests.support.netns.secrets.randbelow", lambda _: number_of(before))
    for _ in range(3):
        with netns.network(2) as made:
            assert made == before
