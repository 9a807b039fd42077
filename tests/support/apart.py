"""Fixtures of hosts of their own: a network of namespaces, PostgreSQL and a target that it reaches."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign.faults import Faults
from tests.campaign.target import Stub, stub_of
from tests.support import own_postgres as own
from tests.support.netns import Network, network, why_not


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    if (why := why_not()) is not None:
        pytest.skip(f"{why}; the same days on loopback are in tests/integration/test_workers.py")
    with network(4) as made:
        yield made


@pytest.fixture(scope="module")
def server(net: Network) -> Iterator[own.OwnPostgres]:
    with own.own_postgres(own.embedded_binaries(), "pgserver", "listen_addresses=*") as running:
        running.let_in(f"{net.gateway}/24")
        yield running


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    with stub_of(Faults(), tmp_path / "stub.log", host="0.0.0.0") as made:
        made.create()
        yield made
