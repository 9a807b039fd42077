"""A command's door for workers of other hosts: takes connections, lets in who has the token, keeps a line.

Invariant: whoever hasn't proved that it has the token holds one of a few places for a few seconds, and holds
the command up in nothing. Beyond this machine nothing is said without TLS.
"""

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from engine.contracts.source import SourceTicket
from engine.contracts.target import TargetInfo
from engine.errors import JobError
from engine.frozen import dataclass
from engine.job import handed
from engine.job.hook import source_digest
from engine.job.model import Job
from engine.run.beats import FromAfar, ToAfar
from engine.run.greeting import (
    GREETING_BYTES_MAX,
    GREETING_S,
    OF_DIALLING,
    OF_HEAD,
    HeadEnd,
    JobTold,
    NotNeeded,
    Stranger,
    Welcome,
    greet,
)
from engine.run.voice import Voice
from engine.run.wire import Language, Received, Sent, SocketEnd
from engine.tasks import ended

log = logging.getLogger(__name__)

GREETINGS_MAX = 16
"""Connections that may be greeted at a time; others wait in the kernel."""

BACKLOG = 128

EXPECTED_S = 120.0
"""How long a command waits for the workers that it expects."""

CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=backfill"
    " -keyout key.pem -out cert.pem"
)
"""What makes a certificate that will do: the token vouches for it (greeting.py)."""

AFAR_SAYS: Language[FromAfar] = Language(FromAfar)
HEAD_SAYS: Language[ToAfar] = Language(ToAfar)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen, or whom to call."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_here(self) -> bool:
        """Whether nobody but this machine can be at the other end."""
        if self.host == "localhost":
            return True
        with suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return False

    @property
    def is_everywhere(self) -> bool:
        """Whether it stands for all addresses of this machine."""
        with suppress(ValueError):
            return ipaddress.ip_address(self.host).is_unspecified
        return False


def address(text: str, what: str) -> Address:
    """Return the address of HOST:PORT. Raises: JobError, which names `what`."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not int(port) < 2**16:
        raise JobError(f"{what}: it must be HOST:PORT, such as 10.0.0.5:7400")
    return Address(host, int(port))


@dataclass(frozen=True, slots=True)
class Listen:
    """What the command line says about workers of other hosts. `expect`: the command waits for so many."""

    at: Address
    certificate: Path | None
    key: Path | None
    expect: int


def job_told(job: Job, parts: Mapping[str, str], ticket: SourceTicket, target: TargetInfo) -> JobTold:
    """Return a job as another host is told it, with its hook of now, whatever that becomes later."""
    hook = source_digest(job.hook, job.directory) if job.hook else None
    return JobTold(handed.as_written(job), parts, hook, ticket.as_json(), target.as_text())


class Candidate:
    """A worker that has the token, and waits to hear what there is to do."""

    def __init__(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.name = name
        self._reader = reader
        self._writer = writer

    @property
    def gone(self) -> bool:
        """Whether it has left the line."""
        return self._reader.at_eof() or self._writer.is_closing()

    def welcomed(self, welcome: Welcome) -> SocketEnd[FromAfar, ToAfar]:
        """Tell it all that it needs for a run; return the end by which it is talked with from here on."""
        return self.called(welcome, says=HEAD_SAYS, hears=AFAR_SAYS)

    def called(
        self, welcome: Welcome, *, says: Language[Sent], hears: Language[Received]
    ) -> SocketEnd[Received, Sent]:
        """Tell it all that it needs for some work; return the end by which it is talked with then."""
        self._greeting().send(welcome)
        return SocketEnd(self._reader, self._writer, says=says, hears=hears)

    async def sent_home(self, why: str) -> None:
        """Tell it that there is nothing to do for it."""
        wire = self._greeting()
        wire.send(NotNeeded(why))
        await wire.close()

    def _greeting(self) -> HeadEnd:
        return SocketEnd(self._reader, self._writer, says=OF_HEAD, hears=OF_DIALLING)


class Listener:
    """Takes in workers that dial in. `voice` hears once of those who aren't let in; `what` listens."""

    def __init__(
        self,
        sock: socket.socket,
        token: str,
        tls: ssl.SSLContext | None,
        certificate: bytes,
        voice: Voice,
        what: str,
    ) -> None:
        self.at = Address(*sock.getsockname()[:2])
        self._sock = sock
        self._token = token
        self._tls = tls
        self._certificate = certificate
        self._voice = voice
        self._what = what
        self._room = asyncio.Semaphore(GREETINGS_MAX)
        self._greetings: set[asyncio.Task[None]] = set()
        self._refused: set[str] = set()
        self._came = asyncio.Event()
        self.came = 0
        """How many have ever been let in."""
        self.line: asyncio.Queue[Candidate] = asyncio.Queue()
        """Those who wait."""
        self.not_needed: str | None = None
        """Why nothing is to be done by workers of other hosts, once that is known."""

    async def accept(self) -> None:
        """Take connections, for as long as the command lasts."""
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                sock, where = await loop.sock_accept(self._sock)
            except OSError as error:  # no descriptor is free
                log.debug("no connection could be taken: %s", error)
                self._room.release()
                await asyncio.sleep(1.0)
                continue
            task = asyncio.create_task(self._let_in(sock, str(where[0])))
            self._greetings.add(task)
            task.add_done_callback(self._greetings.discard)

    async def expected(self, count: int) -> None:
        """Wait until so many have come, for a bounded time."""
        if self.came >= count:
            return
        self._voice.say(f"waiting for {count - self.came} of {count} workers to dial in")
        try:
            async with asyncio.timeout(EXPECTED_S):
                while self.came < count:
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            self._voice.warn(
                f"{self.came} of {count} expected workers have dialled in within {EXPECTED_S:.0f} s:"
                f" {self._what} begins without the others, who may still join"
            )

    async def not_needing(self, why: str) -> None:
        """Send those home who wait, and those who come."""
        self.not_needed = why
        while not self.line.empty():
            await self.line.get_nowait().sent_home(why)

    async def close(self) -> None:
        """Hang up on everybody who is still greeted, and send those home who wait."""
        await ended(*self._greetings)
        await self.not_needing(f"{self._what} is over")

    async def _let_in(self, sock: socket.socket, where: str) -> None:
        writer = None
        try:
            async with asyncio.timeout(GREETING_S):
                reader, writer = await self._taken(sock)
                wire: HeadEnd = SocketEnd(
                    reader, writer, says=OF_HEAD, hears=OF_DIALLING, bytes_max=GREETING_BYTES_MAX
                )
                name = await greet(wire, self._token, self._certificate)
        except (OSError, Stranger) as error:  # TimeoutError and ssl.SSLError too
            log.debug("%s isn't let in: %s", where, error)
            self._tell_refused(where, error)
            if writer is not None:
                writer.close()
        else:
            await self._greeted(Candidate(name, reader, writer))
        finally:
            self._room.release()

    async def _greeted(self, candidate: Candidate) -> None:
        self.came += 1
        self._came.set()
        if self.not_needed is not None:
            await candidate.sent_home(self.not_needed)
        else:
            self.line.put_nowait(candidate)

    async def _taken(self, sock: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        kept_alive(sock)
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        limits = {} if self._tls is None else {"ssl_handshake_timeout": GREETING_S}
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock, ssl=self._tls, **limits)
        except BaseException:
            sock.close()
            raise
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def _tell_refused(self, where: str, error: Exception) -> None:
        """Say of each address once that somebody there wasn't let in, of a few addresses."""
        why = str(error) or "it said nothing that a worker says"
        if where not in self._refused and len(self._refused) < GREETINGS_MAX:
            self._refused.add(where)
            self._voice.warn(f"somebody at {where} dialled in and was refused: {why}")


def kept_alive(sock: socket.socket) -> None:
    """Have the kernel find out that the other end of a silent connection is gone, within half a minute."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):  # macOS has others
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


@asynccontextmanager
async def listening(
    listen: Listen, token: str, voice: Voice, what: str = "the run"
) -> AsyncGenerator[Listener, None]:
    """Listen for workers of other hosts that have the token; `what` does. Raises: JobError."""
    tls, certificate = _tls(listen)
    try:
        sock = socket.create_server(
            (listen.at.host, listen.at.port),
            family=socket.AF_INET6 if ":" in listen.at.host else socket.AF_INET,
            backlog=BACKLOG,
        )
    except OSError as error:
        raise JobError(f"--listen {listen.at}: {error.strerror or error}; name another address") from error
    with sock:
        sock.setblocking(False)
        listener = Listener(sock, token, tls, certificate, voice, what)
        voice.say(f"listening for workers on {listener.at}")
        accepting = asyncio.create_task(listener.accept())
        try:
            yield listener
        finally:
            await ended(accepting)
            await listener.close()


def _tls(listen: Listen) -> tuple[ssl.SSLContext | None, bytes]:
    """Return what encrypts, and the certificate that both sides' proofs cover."""
    if listen.certificate is None or listen.key is None:
        if not listen.at.is_here:
            raise JobError(
                f"--listen {listen.at}: beyond this machine it listens with TLS only, for what workers send"
                f" holds data: name --tls-cert and --tls-key, as made by `{CERTIFICATE}`; or listen on"
                " 127.0.0.1, behind ssh -R"
            )
        return None, b""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        tls.load_cert_chain(listen.certificate, listen.key)
        first = listen.certificate.read_text(encoding="utf-8").split("-----END CERTIFICATE-----")[0]
        text = first[first.index("-----BEGIN CERTIFICATE-----") :] + "-----END CERTIFICATE-----\n"
        return tls, ssl.PEM_cert_to_DER_cert(text)
    except (OSError, ValueError) as error:
        raise JobError(
            f"--tls-cert, --tls-key: they can't be used ({error}); make some by `{CERTIFICATE}`"
        ) from error
