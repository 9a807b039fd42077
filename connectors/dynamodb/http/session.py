"""The way in to DynamoDB: region, endpoint, credentials that stay fresh, and clients made of them.

Invariant: the data path and the control plane use the same transport, endpoint and credentials. No credential
is ever printed.
"""

import asyncio
import re
import ssl
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from connectors.dynamodb.errors import credentials_failed, words
from connectors.dynamodb.http.calls import Calls, calling
from connectors.dynamodb.http.credentials import Credentials, find, find_anew, frozen
from connectors.dynamodb.http.endpoint import Endpoint, parse_endpoint
from connectors.dynamodb.http.settings import REGION, Settings, settings_alone, settings_asked
from connectors.dynamodb.http.sigv4 import Keys, Signer
from connectors.dynamodb.http.transport import ANSWER_TIMEOUT_S, Greeting, Transport
from connectors.dynamodb.section import DynamoDBSection
from engine.errors import BackfillError, JobError, PermanentError

CHECK_EVERY_S = 10.0
"""How often botocore is asked whether credentials must be renewed: 10-15 minutes before they end."""

FORCE_EVERY_S = 5.0
"""Refusals that arrive together ask for one renewal, not for one each."""

CALL_TIMEOUT_S = 30.0
CALLS_SIDE_BY_SIDE = 4
"""A heartbeat, a checkpoint and what is read meanwhile."""

AWS_KEY = re.compile(r"A(KIA|SIA)[A-Z0-9]{12,}\Z")
"""Keys of users and of sessions. Source: IAM User Guide, "IAM identifiers", unique ID prefixes."""


class Session:
    """One target's credentials and endpoint in one process. Belongs to one event loop."""

    def __init__(
        self,
        section: DynamoDBSection,
        credentials: Credentials,
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
        self._credentials = credentials
        self._ca_bundle = ca_bundle
        self._clock = clock
        self._check_at = clock() + CHECK_EVERY_S
        self._signer = Signer(keys, endpoint.region, endpoint.authority)
        self._forcing = asyncio.Lock()
        self._forced_at = float("-inf")
        self._changed = False

    def at_hand(self) -> Signer | None:
        """Return the signer to use now; None when a check is due, which `signer` sees to."""
        return None if self._clock() >= self._check_at else self._signer

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
                except BackfillError as error:
                    raise PermanentError(f"credentials have expired and can't be renewed: {error}") from error
                self._credentials = found.credentials
                self._changed = self._adopt(found.keys)
                self._forced_at = self._clock()
            return self._changed

    def calls(self) -> AbstractAsyncContextManager[Calls]:
        """Return what calls the control plane, to be entered with `async with`."""
        transport = self.transport(connections_max=CALLS_SIDE_BY_SIDE, answer_timeout_s=CALL_TIMEOUT_S)
        return calling(transport, self)

    def transport(
        self,
        *,
        connections_max: int,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        greeting: Greeting | None = None,
    ) -> Transport:
        """Return a new transport to the endpoint, signed with this session's credentials.

        `greeting` is set where what is sent changes something: then nothing leaves over a connection that
        doesn't answer it.
        """
        tls = tls_context(self._ca_bundle) if self.endpoint.tls else None
        return Transport(
            self.endpoint,
            self,
            connections_max=connections_max,
            answer_timeout_s=answer_timeout_s,
            tls=tls,
            greeting=greeting,
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
    settings = _settings(section)
    region = settings.region
    if not region:
        raise JobError("target.region is missing: set it in the job, or AWS_REGION, or the profile's region")
    if not REGION.fullmatch(region):
        raise JobError(f"target.region: {region!r} isn't a region's name like us-east-1")
    if section.endpoint_url:
        endpoint = parse_endpoint(section.endpoint_url, region, "target.endpoint_url")
    else:
        assert settings.url is not None, "a region has an endpoint"
        endpoint = parse_endpoint(settings.url, region, "AWS_ENDPOINT_URL")
        _check_account_endpoint(settings.account_mode, endpoint)
    found = await find(section.profile, endpoint)
    _see_to_secrecy(section, endpoint, found.keys)
    notices: tuple[str, ...] = ()
    if found.made_up:
        notices = (f"no AWS credentials were found: {endpoint.authority} on this machine gets made-up ones",)
    return Session(section, found.credentials, found.keys, endpoint, notices, ca_bundle=settings.ca_bundle)


def _settings(section: DynamoDBSection) -> Settings:
    """Return what is set outside the job. Raises: JobError when it doesn't fit."""
    asked = (section.profile, section.region, section.endpoint_url)
    if (alone := settings_alone(*asked)) is not None:
        return alone
    from botocore.exceptions import BotoCoreError, ProfileNotFound

    try:
        return settings_asked(*asked)
    except ProfileNotFound as error:
        raise credentials_failed(error, "target") from error
    except BotoCoreError as error:
        raise JobError(
            f"the AWS configuration for target doesn't fit ({words(error)}): correct it, or name another"
            " profile in target.profile"
        ) from error
    except ValueError:  # its text may hold a URL with a password, so it isn't passed on
        raise JobError("AWS_ENDPOINT_URL, or the profile's endpoint_url, isn't a URL that fits") from None


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
    import botocore

    context = ssl.create_default_context()
    # Slim containers come without the system's CAs; botocore brings its own, as for every other AWS tool.
    context.load_verify_locations(cafile=Path(botocore.__file__).with_name("cacert.pem"))
    return context


def _check_account_endpoint(mode: str | None, endpoint: Endpoint) -> None:
    """Refuse the region's endpoint where an account's own is required. Raises: JobError.

    Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-account-endpoints.html.
    """
    if mode == "required" and endpoint.host.startswith("dynamodb."):
        raise JobError(
            "account_id_endpoint_mode is required, and requests go to the region's endpoint unless the job"
            f" names another: set target.endpoint_url to https://ACCOUNT_ID.ddb.{endpoint.region}.amazonaws.com"
        )
