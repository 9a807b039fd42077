"""The door for workers of other hosts: only who has the token is let in, and nobody holds it up."""

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from engine.commands.run import dialling, listening
from engine.commands.run.dialling import Dial, join
from engine.commands.run.listening import Address, Listen, Listener, address
from engine.errors import JobError, PermanentError
from engine.events import Event, Notice
from engine.exits import Exit
from engine.run import greeting
from engine.run.voice import Voice

TOKEN = "0123456789abcdef"


class Ear:
    def __init__(self) -> None:
        self.said: list[str] = []

    def on(self, event: Event) -> None:
        assert isinstance(event, Notice)
        self.said.append(event.text)


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(greeting.TOKEN, TOKEN)
    monkeypatch.setattr(dialling, "DIALLED_S", 0.0)
    for module in (dialling, listening):
        monkeypatch.setattr(module, "GREETING_S", 100.0)


def heard(listen: Listen, *ears: Ear, token: str = TOKEN) -> AbstractAsyncContextManager[Listener]:
    return listening.listening(listen, token, Voice(ears))


@asynccontextmanager
async def door(folder: Path | None = None, token: str = TOKEN) -> AsyncIterator[tuple[Listener, list[str]]]:
    """A runner that listens and has nothing to do; with a folder, under the certificate in it."""
    ear = Ear()
    cert, key = (None, None) if folder is None else (folder / "cert.pem", folder / "key.pem")
    async with heard(Listen(Address("127.0.0.1", 0), cert, key, 0), ear, token=token) as listener:
        await listener.not_needing("there is nothing to do")
        ear.said.clear()
        yield listener, ear.said


async def dialled_in(at: Address, authority: Path | None = None) -> tuple[Exit, list[str]]:
    said: list[str] = []
    async with asyncio.timeout(30):
        return await join(Dial(at, Path(), authority), greeting.token_of(os.environ), said.append), said


async def test_who_has_the_token_is_let_in() -> None:
    async with door() as (listener, said):
        assert await dialled_in(listener.at) == (Exit.DONE, ["nothing to do: there is nothing to do"])
        assert (listener.came, said) == (1, [])


async def test_those_who_wait_are_sent_home_when_the_run_is_over() -> None:
    ear = Ear()
    async with heard(Listen(Address("127.0.0.1", 0), None, None, 0), ear) as listener:
        waiting = asyncio.create_task(dialled_in(listener.at))
        await listener.expected(1)
        assert not waiting.done()
    assert await waiting == (Exit.DONE, ["nothing to do: the run is over"])


async def test_another_token_is_refused_and_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with door() as (listener, said):
        monkeypatch.setenv(greeting.TOKEN, TOKEN[::-1])
        for _ in range(2):
            with pytest.raises(JobError, match=r"refuses this worker: its BACKFILL_WORKER_TOKEN isn't"):
                await dialled_in(listener.at)
        assert said == ["somebody at 127.0.0.1 dialled in and was refused: its token isn't this runner's"]
        assert listener.came == 0


async def test_the_token_is_never_sent() -> None:
    sent = bytearray()
    async with door() as (listener, _), passing_on(listener.at, sent) as at:
        await dialled_in(at)
    assert b"nonce" in sent
    assert TOKEN.encode() not in sent


async def test_what_answers_without_the_token_is_no_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greeting, "_alike", lambda one, other: "another" in one)
    async with door(token="another token, but") as (listener, _):
        with pytest.raises(JobError, match="refuses"):
            await dialled_in(listener.at)
    made = greeting._digest

    def lax(token: str, who: str, *rest: Any) -> str:
        return made(TOKEN if who == "worker" else token, who, *rest)

    monkeypatch.setattr(greeting, "_alike", lambda one, other: one == other)
    monkeypatch.setattr(greeting, "_digest", lax)
    async with door(token="another token, but") as (listener, _):
        with pytest.raises(JobError, match="hasn't got the token: it is no runner of yours"):
            await dialled_in(listener.at)


async def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = greeting.versions()
    async with door() as (listener, said):
        theirs = iter([{**ours, "polars": "0.1"}, ours])  # the worker's is asked for first
        monkeypatch.setattr(greeting, "versions", lambda: next(theirs))
        with pytest.raises(JobError, match=rf"it has polars 0.1 where the runner has {ours['polars']}: both"):
            await dialled_in(listener.at)
        assert "it has polars 0.1" in said[0]


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\x00\x00\x02{}",
        b"\xff" * 64,
        b"\x00\x10\x00\x00" + b" " * 2**20,
        b'\x00\x00\x00\x35{"nonce":"","digest":"\xc3\xa9\xc3\xa9","name":"n","versions":{}}',
        b"",
    ],
    ids=["http", "no proof", "garbage", "too long", "no digest", "nothing"],
)
async def test_a_stranger_is_hung_up_on(said: bytes) -> None:
    async with door() as (listener, told), asyncio.timeout(30):
        reader, writer = await asyncio.open_connection(listener.at.host, listener.at.port)
        writer.write(said)
        if not said:
            writer.write_eof()
        with suppress(ConnectionResetError):
            assert b"job" not in await reader.read()
        writer.close()
        assert (await dialled_in(listener.at))[0] == Exit.DONE
        assert len(told) == 1


async def test_those_who_say_nothing_hold_nobody_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    kept_alive, greeted = listening.kept_alive, list[socket.socket]()

    def taken(sock: socket.socket) -> None:
        """Whoever comes behind the silent ones may take its time."""
        kept_alive(sock)
        greeted.append(sock)
        if len(greeted) == len(silent):
            monkeypatch.setattr(listening, "GREETING_S", 100.0)

    monkeypatch.setattr(listening, "GREETING_S", 0.05)
    monkeypatch.setattr(listening, "kept_alive", taken)
    async with door() as (listener, told):
        silent = [
            socket.create_connection((listener.at.host, listener.at.port))
            for _ in range(2 * listening.GREETINGS_MAX)
        ]
        assert (await dialled_in(listener.at))[0] == Exit.DONE
        for each in silent:
            each.close()
        assert len(told) == 1


@asynccontextmanager
async def passing_on(
    to: Address, sent: bytearray, shown: ssl.SSLContext | None = None, trusting: ssl.SSLContext | None = None
) -> AsyncIterator[Address]:
    """Somebody in between, who reads all that a worker sends; with a certificate of his own."""
    tasks = set[asyncio.Task[Any]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        there, back = await asyncio.open_connection(to.host, to.port, ssl=trusting)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(4096):
                if sink is back:
                    sent.extend(data)
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=shown)
    try:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a worker take 127.0.0.1 for another host."""
    monkeypatch.setattr(Address, "is_here", property(lambda at: False))


@pytest.mark.usefixtures("beyond")
async def test_the_token_vouches_for_any_certificate(certificates: Path) -> None:
    async with door(certificates) as (listener, _):
        assert (await dialled_in(listener.at))[0] == Exit.DONE


@pytest.mark.usefixtures("beyond")
async def test_who_stands_between_with_a_certificate_of_his_own_gets_nowhere(certificates: Path) -> None:
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(certificates / "ca.pem", certificates / "ca.key")
    async with (
        door(certificates) as (listener, told),
        passing_on(listener.at, bytearray(), own, trusting) as between,
    ):
        with pytest.raises(JobError, match="refuses this worker"):
            await dialled_in(between)
        assert "its token isn't this runner's" in told[0]


@pytest.fixture
def self_made(tmp_path: Path) -> Path:
    """A certificate as the run's own advice makes it, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make certificates with")
    subprocess.run(
        [openssl, *listening.CERTIFICATE.split()[1:]], cwd=tmp_path, check=True, capture_output=True
    )
    return tmp_path


async def test_an_authority_is_held_to_where_one_is_named(certificates: Path, self_made: Path) -> None:
    async with door(certificates) as (listener, _):
        assert (await dialled_in(listener.at, certificates / "ca.pem"))[0] == Exit.DONE
        with pytest.raises(JobError, match="shows a certificate that --ca doesn't vouch for"):
            await dialled_in(listener.at, self_made / "cert.pem")
    with pytest.raises(JobError, match="it can't be used"):
        await dialled_in(Address("127.0.0.1", 1), self_made / "none.pem")


@pytest.mark.usefixtures("beyond")
async def test_a_certificate_that_is_made_as_is_said_will_do(self_made: Path) -> None:
    async with door(self_made) as (listener, _):
        assert (await dialled_in(listener.at))[0] == Exit.DONE


async def test_nobody_there_is_one_sentence() -> None:
    with pytest.raises(PermanentError, match=r"no runner answers at 127\.0\.0\.1:1 "):
        await dialled_in(Address("127.0.0.1", 1))


async def test_what_is_no_runner_is_one_sentence() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        at = Address("127.0.0.1", server.sockets[0].getsockname()[1])
        with pytest.raises(PermanentError, match="doesn't speak as a runner does"):
            await dialled_in(at)


@pytest.mark.parametrize(
    ("listen", "sentence"),
    [
        (Listen(Address("0.0.0.0", 0), None, None, 0), "with TLS only"),
        (Listen(Address("127.0.0.1", 0), Path("no.pem"), Path("no.key"), 0), "can't be used"),
        (Listen(Address("192.0.2.1", 0), Path(__file__), Path(__file__), 0), "can't be used"),
        (Listen(Address("no.such.host.invalid", 0), None, None, 0), "with TLS only"),
    ],
)
async def test_where_it_may_not_or_can_not_listen_it_says_what_to_do(listen: Listen, sentence: str) -> None:
    with pytest.raises(JobError, match=sentence) as refused:
        async with heard(listen):
            pass
    assert "openssl req -x509" in str(refused.value)


async def test_an_address_that_is_taken_is_one_sentence() -> None:
    async with door() as (listener, _):
        with pytest.raises(JobError, match=f"--listen {listener.at}: "):
            async with heard(Listen(listener.at, None, None, 0)):
                pass


@pytest.mark.parametrize("token", ["", "short"])
async def test_a_token_that_can_be_guessed_is_none(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(greeting.TOKEN, token)
    with pytest.raises(JobError, match="openssl rand -hex 32"):
        await dialled_in(Address("127.0.0.1", 1))


async def test_workers_that_do_not_come_are_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "EXPECTED_S", 0.01)
    async with door() as (listener, said):
        await listener.expected(3)
        assert said == [
            "waiting for 3 of 3 workers to dial in",
            "0 of 3 expected workers have dialled in within 0 s: the run begins without the others, who may"
            " still join",
        ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.5:7400", Address("10.0.0.5", 7400)),
        ("head:1", Address("head", 1)),
        ("[::1]:7400", Address("::1", 7400)),
    ],
)
def test_an_address_is_read_and_written(text: str, found: Address) -> None:
    assert address(text, "HEAD:PORT") == found
    assert str(found) == text


@pytest.mark.parametrize("text", ["", "7400", ":7400", "head", "head:", "head:x", "head:65536"])
def test_what_is_no_address_is_said_to_be_none(text: str) -> None:
    with pytest.raises(JobError, match="must be HOST:PORT"):
        address(text, "--listen")


@pytest.mark.parametrize(
    ("host", "here"),
    [("localhost", True), ("127.0.0.9", True), ("::1", True), ("0.0.0.0", False), ("head", False)],
)
def test_this_machine_is_told_from_others(host: str, here: bool) -> None:
    assert Address(host, 1).is_here == here
