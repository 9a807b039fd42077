"""Credentials, region and endpoint come from where the AWS tools look for them, and stay fresh."""

import json
import ssl
import subprocess
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.dynamodb.http import session as session_module
from connectors.dynamodb.http.credentials import take_over
from connectors.dynamodb.http.endpoint import parse_endpoint
from connectors.dynamodb.http.session import CHECK_EVERY_S, FORCE_EVERY_S, Session, open_session, tls_context
from connectors.dynamodb.http.sigv4 import Keys
from connectors.dynamodb.section import DynamoDBSection
from engine.errors import JobError, PermanentError

LOCAL = "http://127.0.0.1:8000"


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in tuple(os.environ):
        if name.startswith("AWS_") or name.lower() in ("http_proxy", "https_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")


def target(**settings: Any) -> DynamoDBSection:
    return DynamoDBSection(type="dynamodb", table="app-data", **settings)


async def test_the_job_comes_before_the_environment_and_that_before_the_profile(
    keys: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[default]\nregion = eu-west-3\n")
    assert (await open_session(target())).endpoint.url == "https://dynamodb.eu-west-3.amazonaws.com"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    assert (await open_session(target())).endpoint.region == "eu-west-2"
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert (await open_session(target())).endpoint.region == "eu-west-1"
    assert (await open_session(target(region="cn-north-1"))).endpoint.url.endswith(".amazonaws.com.cn")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:1")
    assert (await open_session(target())).endpoint.url == "http://localhost:1"
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://localhost:2")
    assert (await open_session(target())).endpoint.url == "http://localhost:2"
    assert (await open_session(target(endpoint_url=LOCAL))).endpoint.url == LOCAL


async def test_a_profile_brings_its_own_keys(keys: None, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[profile other]\nregion = eu-west-1\n")
    (tmp_path / "credentials").write_text(
        "[other]\naws_access_key_id=AKIDFILE\naws_secret_access_key=hidden\n"
    )
    session = await open_session(target(profile="other"))
    assert (await session.signer()).keys.access_key == "AKIDFILE"
    with pytest.raises(JobError, match=r"target\.profile .*nobody"):
        await open_session(target(profile="nobody"))


async def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JobError, match=r"target\.region is missing"):
        await open_session(target())
    with pytest.raises(JobError, match=r"target\.region: 'us east' isn't"):
        await open_session(target(region="us east"))
    with pytest.raises(JobError, match=r"no AWS credentials .*AWS_ACCESS_KEY_ID"):
        await open_session(target(region="us-east-1"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    with pytest.raises(JobError, match="AWS_SECRET_ACCESS_KEY"):
        await open_session(target(region="us-east-1"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden\n")
    with pytest.raises(JobError, match="white space") as caught:
        await open_session(target(region="us-east-1"))
    assert "hidden" not in str(caught.value)


async def test_a_url_that_botocore_refuses_is_in_no_traceback(
    keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "user:hunter2@host")
    with pytest.raises(JobError) as caught:
        await open_session(target(region="us-east-1"))
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


async def test_an_emulator_needs_no_credentials_but_takes_those_that_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = await open_session(target(region="us-east-1", endpoint_url=LOCAL))
    assert (await session.signer()).keys == Keys("local", "local")
    assert ["made-up" in notice for notice in session.notices] == [True]
    assert not await session.refresh()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    session = await open_session(target(region="us-east-1", endpoint_url=LOCAL))
    assert (await session.signer()).keys.access_key == "AKID"
    assert session.notices == ()


@pytest.mark.parametrize("handed", [False, True], ids=["keys in the environment", "a worker"])
@pytest.mark.parametrize("named", [LOCAL, None], ids=["endpoint_url", "AWS's own"])
def test_a_session_loads_no_sdk_where_the_environment_says_all(
    keys: None, monkeypatch: pytest.MonkeyPatch, named: str | None, handed: bool
) -> None:
    """What it imports is CPU that every short run, and every worker, pays again."""
    if handed:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
    taken = f'[[null, {str(named is not None).lower()}, "AKIDHANDED", "hidden", "token"]]' if handed else "[]"
    program = f"""
import asyncio, sys, connectors
from connectors.dynamodb.http.credentials import take_over
from connectors.dynamodb.http.session import open_session
from connectors.dynamodb.section import DynamoDBSection

take_over({taken!r})
section = DynamoDBSection(type="dynamodb", table="app-data", region="eu-west-1", endpoint_url={named!r})

async def main():
    session = await open_session(section)
    session.calls()
    print(session.endpoint.url, (await session.signer()).keys.access_key)

asyncio.run(main())
print(sorted({{"botocore", "urllib3"}} & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    url = named or "https://dynamodb.eu-west-1.amazonaws.com"
    assert done.stdout.splitlines() == [
        f"{url} {'AKIDHANDED' if handed else 'AKIDENV'}",
        "[]" if named else "['botocore']",
    ]


async def test_a_worker_signs_with_what_it_was_handed(keys: None) -> None:
    take_over(json.dumps([[None, True, "AKIDHANDED", "hidden", None]]))
    session = await open_session(target(region="us-east-1", endpoint_url=LOCAL))
    assert (await session.signer()).keys.access_key == "AKIDHANDED"


class Renewing:
    """Credentials as botocore hands them out: others each time, or an error."""

    method = "fake"

    def __init__(self) -> None:
        self.asked = 0
        self.fault: Exception | None = None

    def get_frozen_credentials(self) -> Any:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return SimpleNamespace(access_key=f"AKID{self.asked}", secret_key="hidden", token="")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def renewing_session() -> tuple[Session, Renewing, Clock]:
    credentials, clock = Renewing(), Clock()
    endpoint = parse_endpoint(LOCAL, "us-east-1")
    section = target(region="us-east-1", endpoint_url=LOCAL)
    return (
        Session(section, credentials, Keys("AKID0", "hidden"), endpoint, (), clock),
        credentials,
        clock,
    )


async def test_botocore_is_asked_now_and_then_not_for_each_request() -> None:
    session, credentials, clock = renewing_session()
    for _ in range(100):
        assert (await session.signer()).keys.access_key == "AKID0"
    assert credentials.asked == 0
    clock.now += CHECK_EVERY_S
    signers = [await session.signer() for _ in range(100)]
    assert {signer.keys for signer in signers} == {Keys("AKID1", "hidden", None)}
    assert credentials.asked == 1


async def test_a_failed_renewal_leaves_what_still_works() -> None:
    session, credentials, clock = renewing_session()
    credentials.fault = RuntimeError("the metadata service is away")
    clock.now += CHECK_EVERY_S
    assert (await session.signer()).keys.access_key == "AKID0"
    credentials.fault = None
    assert (await session.signer()).keys.access_key == "AKID0"
    clock.now += CHECK_EVERY_S
    assert (await session.signer()).keys.access_key == "AKID2"


async def test_refusals_that_come_together_look_for_new_credentials_once(
    keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, _, clock = renewing_session()
    assert [await session.refresh() for _ in range(5)] == [True] * 5
    assert (await session.signer()).keys.access_key == "AKIDENV"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDNEW")
    assert await session.refresh()
    assert (await session.signer()).keys.access_key == "AKIDENV"
    clock.now += FORCE_EVERY_S
    assert await session.refresh()
    assert (await session.signer()).keys.access_key == "AKIDNEW"
    clock.now += FORCE_EVERY_S
    assert not await session.refresh()


async def test_credentials_rotated_in_their_file_are_picked_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(session_module, "FORCE_EVERY_S", 0)
    file = tmp_path / "credentials"
    text = "[default]\naws_access_key_id=%s\naws_secret_access_key=hidden\naws_session_token=%s\n"
    file.write_text(text % ("AKIDONE", "one"))
    session = await open_session(target(region="us-east-1"))
    file.write_text(text % ("AKIDTWO", "two"))
    assert await session.refresh()
    assert (await session.signer()).keys == Keys("AKIDTWO", "hidden", "two")
    file.unlink()
    with pytest.raises(PermanentError, match="can't be renewed: no AWS credentials"):
        await session.refresh()


def test_a_bundle_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"AWS_CA_BUNDLE .*nowhere"):
        tls_context(str(tmp_path / "nowhere.pem"))
    assert tls_context(None).verify_mode is ssl.CERT_REQUIRED
    assert tls_context(None).cert_store_stats()["x509_ca"] > 0


async def test_an_accounts_own_endpoint_is_used_where_it_is_named_and_asked_for_where_it_is_required(
    keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mode in ("preferred", "disabled"):
        monkeypatch.setenv("AWS_ACCOUNT_ID_ENDPOINT_MODE", mode)
        assert (await open_session(target(region="us-east-1"))).endpoint.host.startswith("dynamodb.")
    monkeypatch.setenv("AWS_ACCOUNT_ID_ENDPOINT_MODE", "required")
    with pytest.raises(JobError, match=r"https://ACCOUNT_ID\.ddb\.us-east-1\.amazonaws\.com"):
        await open_session(target(region="us-east-1"))
    own = "https://123456789012.ddb.us-east-1.amazonaws.com"
    opened = await open_session(target(region="us-east-1", endpoint_url=own))
    assert (opened.endpoint.url, opened.endpoint.region) == (own, "us-east-1")
