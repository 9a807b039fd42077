"""Passwords and AWS's keys go to another machine in clear text only where somebody is told, or wants it."""

import ssl
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.dynamodb.http.session import Session, open_session
from connectors.dynamodb.section import DynamoDBSection
from connectors.mongodb.session import open_to_others
from connectors.near import local
from connectors.postgres.opening import opened
from connectors.postgres.section import PostgresSection
from connectors.postgres.session import _Connection, abandon
from engine.errors import JobError, PermanentError
from tests.support.pg import execute

URL = "postgresql://app:secret-1@db.internal:5432/shop"
REAL, MADE_UP = "AKIAIOSFODNN7EXAMPLE", "local"


HERE = (
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "[::1]",
    "::ffff:127.0.0.1",
)
SOCKETS = ("", "/var/run", "/tmp/mongodb-27017.sock")
ELSEWHERE = ("localhost.example.com", "10.0.0.1", "128.0.0.1", "db", "fe80::1", "::ffff:10.0.0.1", "0.0.0.0")


@pytest.mark.parametrize(
    ("host", "here"),
    [*((host, True) for host in (*HERE, *SOCKETS)), *((host, False) for host in ELSEWHERE)],
)
def test_what_is_on_this_machine(host: str, here: bool) -> None:
    assert local(host) is here


def connected(peer: Any, verify: ssl.VerifyMode | None) -> Any:
    tls = None if verify is None else SimpleNamespace(context=SimpleNamespace(verify_mode=verify))
    about = {"peername": peer, "ssl_object": tls}
    return SimpleNamespace(_transport=SimpleNamespace(get_extra_info=about.get))


@pytest.mark.parametrize(
    ("peer", "verify", "told"),
    [
        (("10.0.0.1", 5432), None, "isn't encrypted: the password"),
        (("fe80::1", 5432, 0, 0), None, "isn't encrypted: the password"),
        (("10.0.0.1", 5432), ssl.CERT_NONE, "nothing proves that the right server"),
        (("10.0.0.1", 5432), ssl.CERT_REQUIRED, None),
        (("127.0.0.1", 5432), None, None),
        ("/tmp/.s.PGSQL.5432", None, None),
    ],
)
def test_postgres_says_who_could_listen(peer: Any, verify: ssl.VerifyMode | None, told: str | None) -> None:
    said = _Connection.in_clear(connected(peer, verify), URL)
    if told is None:
        assert said is None
    else:
        assert said is not None
        assert told in said
        assert "db.internal:5432" in said
        assert "sslmode=verify-full" in said
        assert "secret" not in said


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mongodb://app:secret-1@db/", "isn't encrypted"),
        ("mongodb://127.0.0.1:1,db:2/?replicaSet=a", "isn't encrypted"),
        ("mongodb://db/?tls=false", "isn't encrypted"),
        ("mongodb+srv://db.example/?tls=false", "isn't encrypted"),
        ("mongodb://db/?tls=true&tlsInsecure=true", "nothing proves"),
        ("mongodb+srv://db.example/?tlsAllowInvalidCertificates=true", "nothing proves"),
        ("mongodb://db/?ssl=true", None),
        ("mongodb+srv://db.example/", None),
        ("mongodb://127.0.0.1:27017,[::1]:27018/", None),
        ("mongodb://%2Ftmp%2Fmongodb-27017.sock/", None),
    ],
)
def test_mongodb_says_who_could_listen(url: str, told: str | None) -> None:
    said = open_to_others(url)
    assert (said is None) if told is None else (said is not None and told in said)
    assert "secret" not in str(said)


def target(**changes: Any) -> DynamoDBSection:
    return DynamoDBSection.model_validate(
        {"type": "dynamodb", "table": "app-data", "region": "eu-west-1", **changes}
    )


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", REAL)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-key-in-use")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@pytest.mark.usefixtures("keys")
async def test_keys_of_aws_are_refused_over_plain_http_to_another_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    far = "http://dynamodb.internal:8000"
    with pytest.raises(JobError, match=r"target.endpoint_url: http://dynamodb.* target.plain_http to true"):
        await open_session(target(endpoint_url=far))
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", far)
    with pytest.raises(JobError, match="isn't encrypted"):
        await open_session(target())
    for fits in (
        {"endpoint_url": far, "plain_http": True},
        {"endpoint_url": "https://dynamodb.internal"},
        {"endpoint_url": "http://127.0.0.1:8000"},
    ):
        assert isinstance(await open_session(target(**fits)), Session)


async def test_a_run_tells_it(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await execute(postgres_url, "CREATE TABLE t (id int PRIMARY KEY)")
    monkeypatch.setattr(_Connection, "in_clear", lambda _self, url: f"told of {url == postgres_url}")
    section = PostgresSection.model_validate({"type": "postgres", "url": postgres_url, "table": "t"})
    found = await opened(section, None)
    await abandon(found.keeper)
    assert "told of True" in found.notices


async def test_nor_do_renewed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", MADE_UP)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up-secret")
    session = await open_session(target(endpoint_url="http://dynamodb.internal:8000"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", REAL)
    with pytest.raises(PermanentError, match="isn't encrypted"):
        await session.refresh()


@pytest.mark.usefixtures("keys")
async def test_keys_in_use_are_blanked_wherever_they_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    from connectors.dynamodb.http.credentials import take_over
    from engine.masking import mask

    await open_session(target(endpoint_url="http://127.0.0.1:8000"))
    assert mask("of-the-key-in-use") == "***"
    take_over('[[null, true, "AKID", "of-the-runner-1", "its-token-123"]]')
    assert mask("of-the-runner-1 its-token-123") == "*** ***"
