"""What the environment alone says is what botocore says; where else anything is said, botocore is asked."""

from pathlib import Path

import pytest

from connectors.dynamodb.http.settings import keys_alone, settings_alone, settings_asked
from connectors.dynamodb.http.sigv4 import Keys

REGIONS = ("us-east-1", "eu-central-2", "il-central-1", "us-gov-west-1", "cn-north-1", "eu-isoe-west-1")
OURS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "hidden"}


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    return {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_REGION": "eu-west-1",
    }


@pytest.mark.parametrize("region", [*REGIONS, None])
def test_the_environment_says_what_botocore_says(
    nowhere: dict[str, str], monkeypatch: pytest.MonkeyPatch, region: str | None
) -> None:
    settings = nowhere | {"AWS_CA_BUNDLE": "/ca.pem", "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    asked = settings_asked(None, region, None)
    alone = settings_alone(None, region, None, settings)
    assert alone == (asked if region is None or (region.count("-") == 2 and "cn-" not in region) else None)
    assert asked.url is not None
    named = settings_alone(None, region, "http://127.0.0.1:1", settings)
    assert named == settings_asked(None, region, "http://127.0.0.1:1")


@pytest.mark.parametrize(
    "more",
    [
        {"AWS_PROFILE": "other"},
        {"AWS_DEFAULT_PROFILE": "other"},
        {"AWS_ENDPOINT_URL": "http://localhost:1"},
        {"AWS_ENDPOINT_URL_DYNAMODB": "http://localhost:1"},
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
    ],
)
def test_what_else_has_a_word_is_left_to_botocore(nowhere: dict[str, str], more: dict[str, str]) -> None:
    assert settings_alone(None, None, None, nowhere) is not None
    assert settings_alone(None, None, None, nowhere | more) is None


def test_profiles_and_files_are_left_to_botocore(nowhere: dict[str, str]) -> None:
    assert settings_alone("other", None, None, nowhere) is None
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        Path(nowhere[name]).touch()
        assert settings_alone(None, None, "http://127.0.0.1:1", nowhere) is None
        Path(nowhere[name]).unlink()


def test_keys_are_taken_from_the_environment_where_they_are_whole_and_lasting() -> None:
    assert keys_alone(None, OURS) == Keys("AKID", "hidden")
    assert keys_alone(None, OURS | {"AWS_SESSION_TOKEN": "token"}) == Keys("AKID", "hidden", "token")
    assert keys_alone(None, OURS | {"AWS_CREDENTIAL_EXPIRATION": "2026-01-01T00:00:00Z"}) is None
    assert keys_alone(None, OURS | {"AWS_PROFILE": "other"}) is None
    assert keys_alone("other", OURS) is None
    assert keys_alone(None, {"AWS_ACCESS_KEY_ID": "AKID"}) is None
