"""Region, address and trust as the AWS tools find them: from the environment alone where that says all.

Invariant: what the environment says alone is what botocore would have said; where a profile, a file or a rare
variable has a word in it, botocore is asked, which takes a while to load.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from connectors.dynamodb.http.sigv4 import Keys
from engine.frozen import dataclass

REGION = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
COMMERCIAL = re.compile(r"(us|eu|ap|sa|ca|me|af|il|mx)-\w+-\d+")
"""Regions whose endpoint is below amazonaws.com. Source: botocore's partitions.json, `aws`."""

PROFILES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
FILES = (("AWS_CONFIG_FILE", "~/.aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"))
BENT = ("AWS_ENDPOINT_URL", "AWS_USE_", "AWS_IGNORE_", "AWS_DATA_PATH", "AWS_DEFAULTS_MODE")
"""Starts of the variables that move AWS's own endpoint."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is set. `url` is AWS's own endpoint, None where the job names another."""

    region: str | None
    url: str | None
    ca_bundle: str | None
    account_mode: str | None


def keys_alone(profile: str | None, environ: Mapping[str, str] = os.environ) -> Keys | None:
    """Return the credentials where the environment holds them; None: botocore has to be asked."""
    access_key, secret_key = (environ.get(f"AWS_{name}") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
    if _of_profile(profile, environ) or environ.get("AWS_CREDENTIAL_EXPIRATION"):
        return None
    if not access_key or not secret_key:
        return None
    token = environ.get("AWS_SECURITY_TOKEN") or environ.get("AWS_SESSION_TOKEN")
    return Keys(access_key, secret_key, token or None)


def settings_alone(
    profile: str | None, region: str | None, endpoint_url: str | None, environ: Mapping[str, str] = os.environ
) -> Settings | None:
    """Return what is set where the environment says it all; None: botocore has to be asked."""
    files = (Path(environ.get(name) or default).expanduser() for name, default in FILES)
    if _of_profile(profile, environ) or any(file.exists() for file in files):
        return None
    region = region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    url = None
    if endpoint_url is None and region:
        if not COMMERCIAL.fullmatch(region) or any(name.startswith(BENT) for name in environ):
            return None
        url = f"https://dynamodb.{region}.amazonaws.com"
    return Settings(region, url, environ.get("AWS_CA_BUNDLE"), environ.get("AWS_ACCOUNT_ID_ENDPOINT_MODE"))


def _of_profile(profile: str | None, environ: Mapping[str, str]) -> bool:
    return profile is not None or any(environ.get(name) for name in PROFILES)


def settings_asked(profile: str | None, region: str | None, endpoint_url: str | None) -> Settings:
    """Ask botocore. Raises: BotoCoreError; ValueError, whose text may hold a URL with a password."""
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.session import Session

    session = Session(profile=profile)
    # botocore knows AWS_DEFAULT_REGION only; the other SDKs, Lambda and ECS speak of AWS_REGION.
    region = region or os.environ.get("AWS_REGION") or session.get_config_variable("region")
    url = None
    if endpoint_url is None and region and REGION.fullmatch(region):
        # Credentials are looked for later, and once.
        config = Config(signature_version=UNSIGNED)
        url = session.create_client("dynamodb", region_name=region, config=config).meta.endpoint_url
    ca_bundle, mode = (
        session.get_config_variable(name) for name in ("ca_bundle", "account_id_endpoint_mode")
    )
    return Settings(region, url, ca_bundle, mode)
