"""The way in to DynamoDB: region, endpoint, credentials that stay fresh, and clients made of them.

Invariant: the data path (own transport) and the control plane (aiobotocore) use the same endpoint and
credentials. No credential is ever printed. aiobotocore brings an HTTP stack of its own, which takes 0.35 s of
CPU to import: a worker, which gets its credentials from the runner and calls no control plane, goes without.
"""

import asyncio
import os
import re
import ssl
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from connectors.dynamodb.http.credentials import find, find_anew, frozen, new_session, session_of, taken_over
from connectors.dynamodb.http.endpoint import Endpoint, parse_endpoint
from connectors.dynamodb.http.sigv4 import Keys, Signer
from connectors.dynamodb.http.transport import CONNECT_TIMEOUT_S, Greeting, Transport
from connectors.dynamodb.section import DynamoDBSection
from engine.errors import JobError, PermanentError
from engine.tenure import Tenure

CHECK_EVERY_S = 10.0
"""How often botocore is asked whether credentials must be renewed: 10-15 minutes before they end."""

FORCE_EVERY_S = 5.0
"""Refusals that arrive together ask for one renewal, not for one each."""

CONTROL_TRIES = 4
CONTROL_TIMEOUT_S = 30.0

AWS_KEY = re.compile(r"A(KIA|SIA)[A-Z0-9]{12,}\Z")
"""Keys of users and of sessions. Source: IAM User Guide, "IAM identifiers", unique ID prefixes."""
REGION = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


class Session:
    """One target's credentials and endpoint in one process. Belongs to one event loop."""

    def __init__(
        self,
        section: DynamoDBSection,
        aio_session: Any | None,
        credentials: Any,
        keys: Keys,
        endpoint: Endpoint,
        notices: tuple[str, ...],
        clock: Callable[[], float] = time.monotonic,
        *,
        ca_bundle: str | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.notices = notices
        self._section = section
        self._aio_session = aio_session
        self._credentials = credentials
        self._ca_bundle = ca_bundle
        self._clock = clock
        self._check_at = clock() + CHECK_EVERY_S
        self._signer = Signer(keys, endpoint.region, endpoint.authority)
        self._forcing = asyncio.Lock()
        self._forced_at = float("-inf")
        self._changed = False

    async def signer(self) -> Signer:
        """Return the signer to use now.

        The one caller that finds a check due asks botocore, which may fetch new credentials; everybody else
        goes on with what is there.
        """
        now = self._clock()
        if now >= self._check_at:
            self._check_at = now + CHECK_EVERY_S
            try:
                self._adopt(await frozen(self._credentials))
            except PermanentError:
                # What is there may live on for minutes, and the next check tries again. When it does end, the
                # target says so and refresh() tells why it can't be renewed.
                return self._signer
        return self._signer

    async def refresh(self) -> bool:
        """Look for credentials anew, because the target calls these expired; True if they have changed.

        Raises: PermanentError when there are none, or they can't be fetched.
        """
        async with self._forcing:
            if self._clock() - self._forced_at >= FORCE_EVERY_S:
                try:
                    found = await find_anew(self._section.profile, self.endpoint)
                    _see_to_secrecy(self._section, self.endpoint, found.keys)
                except JobError as error:
                    raise PermanentError(f"credentials have expired and can't be renewed: {error}") from error
                self._aio_session, self._credentials = found.aio_session, found.credentials
                self._changed = self._adopt(found.keys)
                self._forced_at = self._clock()
            return self._changed

    def client(self) -> AbstractAsyncContextManager[Any]:
        """Return an aiobotocore client for the control plane, to be entered with `async with`."""
        from aiobotocore.config import AioConfig

        named = self._section.endpoint_url
        # botocore tries DynamoDB 10 times by default: half a minute before a dead endpoint.
        config = AioConfig(
            retries={"mode": "standard", "total_max_attempts": CONTROL_TRIES},
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=CONTROL_TIMEOUT_S,
            # Where the job names an endpoint, that is all there is to say: botocore refuses to bend it.
            **({"use_fips_endpoint": False, "use_dualstack_endpoint": False} if named else {}),
        )
        aio_session = self._aio_session or session_of(self._section.profile, self._signer.keys)
        client: AbstractAsyncContextManager[Any] = aio_session.create_client(
            "dynamodb", region_name=self.endpoint.region, endpoint_url=named, config=config
        )
        return client

    def transport(
        self, *, connections_max: int, tenure: Tenure | None = None, greeting: Greeting | None = None
    ) -> Transport:
        """Return a new transport to the endpoint, signed with this session's credentials.

        `tenure` and `greeting` are set where what is sent changes something: then nothing leaves behind the
        end of the one, nor over a connection that doesn't answer the other.
        """
        tls = tls_context(self._ca_bundle) if self.endpoint.tls else None
        return Transport(
            self.endpoint, self, connections_max=connections_max, tls=tls, tenure=tenure, greeting=greeting
        )

    def _adopt(self, keys: Keys) -> bool:
        """Sign with these keys from now on; True if they are others than before."""
        if keys == self._signer.keys:
            return False
        self._signer = Signer(keys, self.endpoint.region, self.endpoint.authority)
        return True


async def open_session(section: DynamoDBSection) -> Session:
    """Find region, endpoint and credentials as the AWS defaults say; the job's own keys come first.

    Raises: JobError when one is missing or doesn't fit.
    """
    from botocore.exceptions import BotoCoreError, ProfileNotFound

    try:
        settings = _settings(section.profile)
        # botocore knows AWS_DEFAULT_REGION only; the other SDKs, Lambda and ECS speak of AWS_REGION.
        region = section.region or os.environ.get("AWS_REGION") or settings.get_config_variable("region")
        if not region:
            raise JobError(
                "target.region is missing: set it in the job, or AWS_REGION, or the profile's region"
            )
        if not REGION.fullmatch(region):
            raise JobError(f"target.region: {region!r} isn't a region's name like us-east-1")
        if section.endpoint_url:
            endpoint = parse_endpoint(section.endpoint_url, region, "target.endpoint_url")
        else:
            endpoint = parse_endpoint(await _default_url(settings, region), region, "AWS_ENDPOINT_URL")
            _check_account_endpoint(settings, endpoint)
        ca_bundle = settings.get_config_variable("ca_bundle")
    except ProfileNotFound as error:
        raise JobError(f"target.profile or AWS_PROFILE: {error}") from error
    except BotoCoreError as error:
        raise JobError(f"the AWS configuration for target doesn't fit: {error}") from error
    except ValueError:  # its text may hold a URL with a password, so it isn't passed on
        raise JobError("AWS_ENDPOINT_URL, or the profile's endpoint_url, isn't a URL that fits") from None
    found = await find(section.profile, endpoint)
    _see_to_secrecy(section, endpoint, found.keys)
    notices: tuple[str, ...] = ()
    if found.made_up:
        notices = (f"no AWS credentials were found: {endpoint.authority} on this machine gets made-up ones",)
    return Session(
        section, found.aio_session, found.credentials, found.keys, endpoint, notices, ca_bundle=ca_bundle
    )


def _see_to_secrecy(section: DynamoDBSection, endpoint: Endpoint, keys: Keys) -> None:
    """Refuse to take what AWS's own keys sign over a network in clear text, unless the job says so.

    The secret itself never leaves, but a session's token does, and so do all items.
    Raises: JobError.
    """
    if endpoint.tls or endpoint.loopback or section.plain_http or not AWS_KEY.match(keys.access_key):
        return
    raise JobError(
        f"target.endpoint_url: {endpoint.url} isn't encrypted, and these are keys of AWS: write https://, use"
        " made-up keys for an emulator, or set target.plain_http to true"
    )


def tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """Return what is trusted: the bundle that the user names, else the system's CAs and botocore's.

    Raises: JobError when the bundle can't be read.
    """
    if ca_bundle:
        try:
            return ssl.create_default_context(cafile=ca_bundle)
        except OSError as error:
            raise JobError(
                f"AWS_CA_BUNDLE (or the profile's ca_bundle) names {ca_bundle}, which can't be read: {error}"
            ) from error
    from botocore.httpsession import get_cert_path

    context = ssl.create_default_context()
    # Slim containers come without the system's CAs; botocore brings its own, as for every other AWS tool.
    context.load_verify_locations(cafile=get_cert_path(True))
    return context


def _check_account_endpoint(settings: Any, endpoint: Endpoint) -> None:
    """Refuse the region's endpoint where an account's own is required. Raises: JobError.

    Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-account-endpoints.html.
    """
    mode = settings.get_config_variable("account_id_endpoint_mode")
    if mode == "required" and endpoint.host.startswith("dynamodb."):
        raise JobError(
            "account_id_endpoint_mode is required, and requests go to the region's endpoint unless the job"
            f" names another: set target.endpoint_url to https://ACCOUNT_ID.ddb.{endpoint.region}.amazonaws.com"
        )


def _settings(profile: str | None) -> Any:
    """Return a session to ask for what the environment and the profile say."""
    if not taken_over():
        return new_session(profile)  # its clients are needed in a moment
    from botocore.session import Session as PlainSession

    return PlainSession(profile=profile)


async def _default_url(settings: Any, region: str) -> str:
    """Return what the environment or the profile says, else AWS's own endpoint for the region."""
    from botocore import UNSIGNED
    from botocore.config import Config

    # Credentials are looked for later, and once.
    if taken_over():
        plain = settings.create_client(
            "dynamodb", region_name=region, config=Config(signature_version=UNSIGNED)
        )
        return str(plain.meta.endpoint_url)
    from aiobotocore.config import AioConfig

    config = AioConfig(signature_version=UNSIGNED)
    async with settings.create_client("dynamodb", region_name=region, config=config) as client:
        return str(client.meta.endpoint_url)
