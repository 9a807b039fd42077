"""Where this process's AWS credentials come from: botocore's chain, walked once for all who need them.

Invariant: a code that a person has to type is asked for once, by the runner, while it starts; workers get
what was found over their private socket. No credential is ever printed.
"""

import asyncio
import getpass
import json
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from connectors.dynamodb.http.endpoint import Endpoint
from connectors.dynamodb.http.sigv4 import Keys
from engine.errors import JobError, PermanentError
from engine.masking import register

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


@dataclass(frozen=True, slots=True)
class Found:
    """What was found. `credentials` renews itself where it can; `made_up` says that an emulator gets any.

    `aio_session` is what makes clients; None where the runner has found it all, and nobody needs one yet.
    """

    aio_session: Any | None
    credentials: Any
    keys: Keys
    made_up: bool = False


class Handed:
    """Keys that another process found; what they are good for shows only when they are used."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def get_frozen_credentials(self) -> Any:
        """Return them, in botocore's form."""
        from botocore.credentials import ReadOnlyCredentials

        return ReadOnlyCredentials(self._keys.access_key, self._keys.secret_key, self._keys.token)


_found: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[CredentialsFor, Found]]" = WeakKeyDictionary()
_handed: dict[CredentialsFor, Keys] = {}


async def find(profile: str | None, endpoint: Endpoint) -> Found:
    """Return the credentials for an endpoint: those that this process or its runner has found already.

    Raises: JobError.
    """
    place = CredentialsFor(profile, endpoint.loopback)
    found = _found.get(asyncio.get_running_loop(), {}).get(place)
    if found is None:
        found = _from_runner(place) if place in _handed else await _walk(place, endpoint)
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


def taken_over() -> bool:
    """Whether this process has its credentials from its runner."""
    return bool(_handed)


def new_session(profile: str | None) -> Any:
    """Return a session that has read nothing yet, so that it will see what has changed on disk."""
    from aiobotocore.session import AioSession

    return AioSession(profile=profile)


def session_of(profile: str | None, keys: Keys) -> Any:
    """Return a session whose clients sign with these keys."""
    aio_session = new_session(profile)
    aio_session.set_credentials(keys.access_key, keys.secret_key, keys.token)
    return aio_session


async def frozen(credentials: Any) -> Keys:
    """Return credentials as they are now, renewed where botocore says so.

    Raises: PermanentError.
    """
    try:
        now = await credentials.get_frozen_credentials()
    except PermanentError:
        raise
    except Exception as error:  # a provider may raise anything: it runs other programs and reads files
        raise PermanentError(f"AWS credentials can't be renewed: {type(error).__name__}: {error}") from error
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


def _from_runner(place: CredentialsFor) -> Found:
    keys = _handed[place]
    return Found(None, Handed(keys), keys)


async def _walk(place: CredentialsFor, endpoint: Endpoint, *, asks: bool = True) -> Found:
    """Walk botocore's chain of credential providers. Raises: JobError."""
    from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound

    whose = "the default profile" if place.profile is None else f"profile {place.profile}"
    try:
        found = await _asked(place, asks=asks)
    except ProfileNotFound as error:
        raise JobError(f"target.profile or AWS_PROFILE: {error}") from error
    except PermanentError as error:
        raise JobError(f"{error} ({whose})") from error
    except (BotoCoreError, ClientError, ValueError) as error:
        raise JobError(f"AWS credentials of {whose} can't be read: {error}") from error
    except Exception as error:  # a provider may raise anything: it runs other programs and reads files
        raise JobError(
            f"AWS credentials can't be fetched: {type(error).__name__}: {error}; correct credential_process,"
            f" sso_session or role_arn of {whose} in the AWS configuration, or name another in target.profile"
        ) from error
    if found is None:
        raise JobError(
            f"no AWS credentials for {endpoint.host}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or target.profile, or run where a role is attached"
        )
    return found


async def _asked(place: CredentialsFor, *, asks: bool) -> Found | None:
    aio_session = new_session(place.profile)
    providers = aio_session.get_component("credential_provider")
    if place.loopback:  # an emulator has no use for an instance's role, and asking for it takes seconds
        providers.remove("iam-role")
    # Private door: botocore's session takes no prompter of its own; its default would ask at every renewal.
    providers.get_provider("assume-role")._prompter = _Prompter(asks=asks)
    credentials = await aio_session.get_credentials()
    made_up = credentials is None and place.loopback
    if made_up:
        aio_session.set_credentials(LOCAL_KEYS.access_key, LOCAL_KEYS.secret_key)
        credentials = await aio_session.get_credentials()
    if credentials is None:
        return None
    return Found(aio_session, credentials, await frozen(credentials), made_up)


class _Prompter:
    """Asks for an MFA code, once and only at the start."""

    def __init__(self, *, asks: bool) -> None:
        self._asks = asks

    def __call__(self, prompt: str) -> str:
        if not self._asks:
            raise PermanentError(ASKED_AGAIN)
        self._asks = False
        return getpass.getpass(prompt)
