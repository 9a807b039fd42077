"""How a worker of another host and a runner come to trust each other, before anything else is said.

Both prove that they have the token, by a digest of it with what the other one has drawn: the token itself
isn't sent. The digest covers the certificate that the worker has seen, so that nobody between the two can
pass a proof on, whoever has signed his certificate.

Invariant: whoever hasn't proved it is told nothing and costs no more than a short message and a few seconds.
"""

import hmac
import os
import secrets
import socket
from collections.abc import Mapping
from importlib.metadata import version
from typing import Literal, TypeAlias

from engine import __version__
from engine.errors import JobError
from engine.frozen import dataclass
from engine.run.link import SaidText
from engine.run.wire import Language, SocketEnd

PROTOCOL = 3
"""Version of all that a runner and a worker of another host say to each other."""

TOKEN = "BACKFILL_WORKER_TOKEN"  # noqa: S105 - the variable's name
TOKEN_CHARS_MIN = 16
"""Whoever listens in may try tokens at his leisure."""

GREETING_S = 5.0
"""How long the greeting may take."""

GREETING_BYTES_MAX = 4096
"""The longest message of one who hasn't proved anything."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Runner → worker, the first message: prove it with this."""

    protocol: int
    nonce: str


@dataclass(frozen=True, slots=True)
class Proof:
    """Worker → runner: I have the token; prove it with this. `versions` of what must be alike."""

    nonce: str
    digest: str
    name: SaidText
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Accepted:
    """Runner → worker: I have it, too. What you are to do follows when it is there."""

    digest: str


@dataclass(frozen=True, slots=True)
class NotLetIn:
    """Runner → worker: you can't take part."""

    why: SaidText


@dataclass(frozen=True, slots=True)
class NotNeeded:
    """Runner → worker: there is nothing for you to do, and there won't be."""

    why: SaidText


@dataclass(frozen=True, slots=True)
class JobTold:
    """A job as it is told to another host, without a secret but what the job file itself says.

    Shape: `job` is job.handed.as_written; `parts` Job.fingerprint_parts and `hook` the digest of its hook's
    source, which the worker's must equal; `ticket` SourceTicket.as_json; `target` TargetInfo.as_text.
    """

    job: str
    parts: Mapping[str, str]
    hook: str | None
    ticket: str
    target: str


Work: TypeAlias = Literal["run", "verify", "plan"]
"""The command that has workers of other hosts: what they do there, and how it is said from here on."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """Runner → worker: all that is needed for the work. A run has one job, and so has a plan."""

    work: Work
    jobs: tuple[JobTold, ...]
    cursors: int
    silence_s: float


FirstOfHead: TypeAlias = Hello | Accepted | NotLetIn | NotNeeded | Welcome
OF_HEAD: Language[FirstOfHead] = Language(FirstOfHead)
OF_DIALLING: Language[Proof] = Language(Proof)

HeadEnd: TypeAlias = SocketEnd[Proof, FirstOfHead]
DiallingEnd: TypeAlias = SocketEnd[FirstOfHead, Proof]


class Stranger(Exception):
    """Somebody who isn't let in; the text says why."""


def token_of(env: Mapping[str, str]) -> str:
    """Return the token. Raises: JobError."""
    token = env.get(TOKEN, "")
    if len(token) < TOKEN_CHARS_MIN:
        raise JobError(
            f"the environment variable {TOKEN} must hold the token that runner and workers share, of at least"
            f" {TOKEN_CHARS_MIN} characters: make one with `openssl rand -hex 32`, and set it on both sides"
        )
    return token


async def greet(wire: HeadEnd, token: str, certificate: bytes) -> str:
    """Have whoever has dialled in prove that it may take part, and return its name. Raises: Stranger."""
    nonce = secrets.token_hex(32)
    wire.send(Hello(PROTOCOL, nonce))
    proof = await wire.receive()
    if proof is None:
        raise Stranger("it said nothing that a worker says")
    drawn = (nonce, proof.nonce)
    if not _alike(proof.digest, _digest(token, "worker", drawn, certificate)):
        wire.send(NotLetIn(f"its {TOKEN} isn't the runner's"))
        raise Stranger("its token isn't this runner's")
    wire.send(Accepted(_digest(token, "runner", drawn, certificate)))
    other = [
        f"{what} {proof.versions.get(what, 'none')} where the runner has {ours}"
        for what, ours in versions().items()
        if proof.versions.get(what) != ours
    ]
    if other:
        why = f"it has {', '.join(other)}: both must have the same"
        wire.send(NotLetIn(why))
        raise Stranger(f"{proof.name}: {why}")
    return proof.name


async def introduce(wire: DiallingEnd, token: str, certificate: bytes, where: str) -> None:
    """Prove to the runner at `where` that this worker may take part, and have it prove the same.

    Raises: JobError; Unanswered where nobody says anything.
    """
    hello = await wire.receive()
    if not isinstance(hello, Hello):
        raise Unanswered
    if hello.protocol != PROTOCOL:
        raise JobError(f"the runner at {where} is of another version of backfill: both must have the same")
    nonce = secrets.token_hex(32)
    drawn = (hello.nonce, nonce)
    name = f"{socket.gethostname()}:{os.getpid()}"
    wire.send(Proof(nonce, _digest(token, "worker", drawn, certificate), name, versions()))
    match await wire.receive():
        case Accepted(digest) if _alike(digest, _digest(token, "runner", drawn, certificate)):
            return
        case NotLetIn(why):
            raise refusal(where, why)
        case Accepted():
            raise JobError(f"what answers at {where} hasn't got the token: it is no runner of yours")
        case _:
            raise Unanswered


class Unanswered(Exception):
    """Nobody is there who speaks as a runner does."""


def refusal(where: str, why: str) -> JobError:
    """Return what a worker that is refused ends with."""
    return JobError(f"the runner at {where} refuses this worker: {why}")


def versions() -> dict[str, str]:
    """Return what must be alike on both sides, so that the same rows give the same items."""
    return {"backfill": __version__, "polars": version("polars"), "pyarrow": version("pyarrow")}


def _alike(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _digest(token: str, who: str, drawn: tuple[str, str], certificate: bytes) -> str:
    said = "\0".join(("backfill worker", str(PROTOCOL), who, *drawn)).encode()
    return hmac.digest(token.encode(), said + b"\0" + certificate, "sha256").hex()
