"""Where this process's AWS credentials come from: botocore's chain, walked once for all who need them.

Invariant: a code that a person has to type is asked for once, by the runner, while it starts; workers get
what was found over their private socket. No credential is ever printed.
"""

import asyncio
import getpass
import json
from dataclasses import astuple
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

from connectors.dynamodb.errors import credentials_failed
from connectors.dynamodb.http.endpoint import Endpoint
from connectors.dynamodb.http.settings import keys_alone
from connectors.dynamodb.http.sigv4 import Keys
from engine.errors import JobError, PermanentError
from engine.frozen import dataclass
from engine.masking import register
from engine.tasks import aside

LOCAL_KEYS = Keys("local", "local")
"""Emulators take any credentials, but want some."""

ASKED_AGAIN = (
    "the session that an MFA code opened has ended, and a load can't wait for another code; run the same"
    " command again to go on, or let the role's sessions last longer (duration_seconds, at most 12 hours)"
)


class CredentialsFor(NamedTuple):
    """Whose credentials: a profile's, None for the default chain; and whether for an emulator here."""

    profile: str | None
    loopback: bool


class Credentials(Protocol):
    """Credentials that may renew themselves, as botocore has them."""

    def get_frozen_credentials(self) -> Any:
        """Return them as they are now, named as in Keys; may take long, and raise anything."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found. `credentials` renews itself where it can; `made_up` says that an emulator gets any."""

    credentials: Credentials
    keys: Keys
    made_up: bool = False


class Fixed:
    """Keys that don't renew themselves; what they are good for shows only when they are used."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def get_frozen_credentials(self) -> Keys:
        """Return them."""
        return self._keys


_found: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[CredentialsFor, Found]]" = WeakKeyDictionary()
_handed: dict[CredentialsFor, Keys] = {}


async def find(profile: str | None, endpoint: Endpoint) -> Found:
    """Return the credentials for an endpoint: those that this process or its runner has found already.

    Raises: JobError.
    """
    place = CredentialsFor(profile, endpoint.loopback)
    found = _found.get(asyncio.get_running_loop(), {}).get(place)
    if found is None:
        keys = _handed.get(place)
        found = await _walk(place, endpoint) if keys is None else Found(Fixed(keys), keys)
    return _kept(place, found)


async def find_anew(profile: str | None, endpoint: Endpoint) -> Found:
    """Look again, at all that may have changed on disk or in the environment. Raises: JobError."""
    place = CredentialsFor(profile, endpoint.loopback)
    return _kept(place, await _walk(place, endpoint, asks=False))


async def to_hand_over() -> str:
    """Return what this process has found, for its workers: JSON, secret. Raises: PermanentError."""
    known = _found.get(asyncio.get_running_loop(), {})
    return json.dumps([(*place, *astuple(await frozen(found.credentials))) for place, found in known.items()])


def take_over(text: str) -> None:
    """Use what the runner has found, instead of asking again."""
    for profile, loopback, *keys in json.loads(text):
        _handed[CredentialsFor(profile, loopback)] = Keys(*keys)
        register(*keys[1:])


async def frozen(credentials: Credentials) -> Keys:
    """Return credentials as they are now, renewed where botocore says so.

    Raises: PermanentError.
    """
    try:
        now = await aside(credentials.get_frozen_credentials)
    except PermanentError:
        raise
    except Exception as error:  # a provider may raise anything: it runs other programs and reads files
        raise PermanentError(str(credentials_failed(error, "this session"))) from error
    keys = Keys(now.access_key, now.secret_key, now.token or None)
    if any(sign.isspace() for sign in keys.access_key + keys.secret_key):
        raise PermanentError("the AWS access key or its secret holds white space: look for a stray line end")
    register(keys.secret_key, keys.token)
    return keys


def _kept(place: CredentialsFor, found: Found) -> Found:
    """Keep what was found for the others of this event loop, unless anybody could make it up."""
    if not found.made_up:
        _found.setdefault(asyncio.get_running_loop(), {})[place] = found
    return found


async def _walk(place: CredentialsFor, endpoint: Endpoint, *, asks: bool = True) -> Found:
    """Walk botocore's chain of credential providers, unless the first, the environment, has them all.

    Raises: JobError, TransientError.
    """
    if (keys := keys_alone(place.profile)) is not None:
        credentials = Fixed(keys)
        try:
            return Found(credentials, await frozen(credentials))
        except PermanentError as error:
            raise JobError(f"{error} (in the environment)") from error
    whose = "the default profile" if place.profile is None else f"profile {place.profile}"
    try:
        found = await _asked(place, asks=asks)
    except Exception as error:  # a provider may raise anything: it runs other programs and reads files
        raise credentials_failed(error, whose) from error
    if found is None:
        raise JobError(
            f"no AWS credentials for {endpoint.host}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or target.profile, or run where a role is attached"
        )
    return found


async def _asked(place: CredentialsFor, *, asks: bool) -> Found | None:
    from botocore.session import Session

    prompter = _Prompter(asyncio.get_running_loop(), asks=asks)

    def walk() -> Credentials | None:
        session = Session(profile=place.profile)
        providers = session.get_component("credential_provider")
        if place.loopback:  # an emulator has no use for an instance's role, and asking for it takes seconds
            providers.remove("iam-role")
        # Private door: the session takes no prompter of its own; its default would ask at every renewal.
        providers.get_provider("assume-role")._prompter = prompter
        credentials: Credentials | None = session.get_credentials()
        return credentials

    credentials = await aside(walk)
    if credentials is not None:
        return Found(credentials, await frozen(credentials))
    return Found(Fixed(LOCAL_KEYS), LOCAL_KEYS, made_up=True) if place.loopback else None


class _Prompter:
    """Asks for an MFA code, once and only at the start.

    Called where the chain is walked; the event loop's thread asks, where Ctrl-C arrives.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, asks: bool) -> None:
        self._loop = loop
        self._asks = asks

    def __call__(self, prompt: str) -> str:
        if not self._asks:
            raise PermanentError(ASKED_AGAIN)
        self._asks = False
        return asyncio.run_coroutine_threadsafe(_typed(prompt), self._loop).result()


async def _typed(prompt: str) -> str:
    return getpass.getpass(prompt)
