"""Messages between two processes: each comes back as it was said, and nothing else becomes one."""

import asyncio
import json
import socket
import struct
from dataclasses import replace
from typing import Any

import pytest

from engine.batch import Counts, Cursor, DeadLetter, Mark, Segment
from engine.commands.run.processes import OF_PARENT, Boot
from engine.contracts.source import ViewLost
from engine.errors import JobError, PermanentError, RetriesExhausted, TargetUnfit
from engine.meter import MeterTotals
from engine.run import wire
from engine.run.link import (
    Advanced,
    Assign,
    Drain,
    Finished,
    Kept,
    Limit,
    NoMore,
    Noted,
    Ticked,
    ToRunner,
    ToWorker,
    Until,
    Want,
)
from engine.run.wire import OF_RUNNER, OF_WORKER, Garbled, SocketEnd
from engine.tenure import NEVER, LeaseOver
from tests.support.runs import totals

LETTER = DeadLetter("Row", "key_empty", 'PK is ""\u2028', {"id": "1", "tenant": None}, '{"PK":{"S":"é"}}')
MARK = Mark(3, Cursor(("a", "\x00")), replace(Counts(), rows_read=2**40), (LETTER,), done=False)
SAID_BY_RUNNER: list[ToWorker] = [
    Assign(Segment(7, None, Cursor(("5", "é")), 1000), Cursor(("1", ""))),
    Assign(Segment(7, Cursor(()), None, None), None),
    NoMore(),
    Limit(0.1 + 0.2),
    Limit(None),
    Kept(2**40),
    Until(1234.5),
    Until(-NEVER, "another one has the lease"),
    Until(NEVER),
    Drain(),
]
SAID_BY_WORKER: list[ToRunner] = [
    Want(),
    Advanced(MARK),
    Advanced(Mark(0, None, Counts(), (), done=True)),
    Ticked(totals(), 1.25, 2**33),
    Ticked(replace(MeterTotals(), rate_limit=NEVER), 0.0, 0),
    Noted("a sentence"),
    Finished(),
]


@pytest.mark.parametrize("message", SAID_BY_RUNNER, ids=str)
def test_what_a_runner_says_comes_back(message: ToWorker) -> None:
    assert OF_RUNNER.read(OF_RUNNER.written(message)) == message
    assert OF_PARENT.read(OF_PARENT.written(message)) == message


@pytest.mark.parametrize("message", SAID_BY_WORKER, ids=lambda message: type(message).__name__)
def test_what_a_worker_says_comes_back(message: ToRunner) -> None:
    assert OF_WORKER.read(OF_WORKER.written(message)) == message


def test_all_that_a_process_is_started_with_comes_back() -> None:
    boot = Boot('{"job": 1}', "{}", "", 2, "secret", NEVER, settled="/s", run_id="r")
    assert OF_PARENT.read(OF_PARENT.written(boot)) == boot


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (JobError("a"), JobError),
        (TargetUnfit("b"), TargetUnfit),
        (ViewLost("c"), ViewLost),
        (RetriesExhausted("d"), RetriesExhausted),
        (type("OfAConnector", (PermanentError,), {})("e"), PermanentError),
        (LeaseOver("f"), LeaseOver.__base__),
    ],
)
def test_an_error_travels_as_its_kind_and_its_text(error: Any, kind: type) -> None:
    came = OF_WORKER.read(OF_WORKER.written(Finished(error, "a\nb")))
    assert isinstance(came, Finished)
    assert (type(came.error), str(came.error), came.traceback) == (kind, str(error), "a\nb")


def test_a_text_that_is_no_unicode_is_said_all_the_same() -> None:
    for said in (Noted("path \udcff"), Finished(PermanentError("path \udcff"), "\udcff")):
        came = OF_WORKER.read(OF_WORKER.written(said))
        assert "\\udcff" in str(came if isinstance(came, Noted) else came.error)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"Want"',
        b"{}",
        b'{"is":"Assign","segment":null,"after":null}',  # what only a runner says
        b'{"is":"PosixPath"}',
        b'{"is":"Noted"}',
        b'{"is":"Noted","text":1}',
        b'{"is":"Ticked","totals":{},"cpu_s":"1","peak_rss_bytes":1}',
        b'{"is":"Finished","error":["SystemExit","x"]}',
        b'{"is":"Finished","error":["JobError",["x"]]}',
        b'{"is":"Noted","text":"\xff"}',
        b"\x80\x04K\x01.",  # a pickle
    ],
    ids=str,
)
def test_nothing_else_becomes_a_message(said: bytes) -> None:
    with pytest.raises(Garbled):
        OF_WORKER.read(said)


async def ends() -> tuple[SocketEnd[ToRunner, ToWorker], socket.socket]:
    """The runner's end of a link, and the bare socket of whoever is at the other one."""
    ours, theirs = socket.socketpair()
    return await SocketEnd.open(ours, says=OF_RUNNER, hears=OF_WORKER), theirs


def framed(body: bytes) -> bytes:
    return struct.pack("!I", len(body)) + body


async def test_messages_arrive_whole_and_in_order() -> None:
    link, theirs = await ends()
    there = await SocketEnd.open(theirs, says=OF_WORKER, hears=OF_RUNNER)
    assert not link.heard
    for said in SAID_BY_WORKER:
        there.send(said)
    for sent in SAID_BY_RUNNER:
        link.send(sent)
    assert [await link.receive() for _ in SAID_BY_WORKER] == SAID_BY_WORKER
    assert [await there.receive() for _ in SAID_BY_RUNNER] == SAID_BY_RUNNER
    assert link.heard
    await there.close()
    assert await link.receive() is None
    link.send(Drain())  # nobody hears it
    await link.close()


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(framed(b'{"is":"Unheard of"}'), id="unknown"),
        pytest.param(framed(b"not json"), id="garbled"),
        pytest.param(struct.pack("!I", wire.MESSAGE_BYTES_MAX + 1), id="too long"),
        pytest.param(framed(json.dumps({"is": "Want"}).encode())[:-1], id="cut off"),
        pytest.param(b"\x00\x00", id="cut off in its length"),
    ],
)
async def test_what_is_no_message_ends_the_link(sent: bytes) -> None:
    link, theirs = await ends()
    with theirs:
        theirs.setblocking(False)
        theirs.sendall(framed(OF_WORKER.written(Want())) + sent)
        theirs.shutdown(socket.SHUT_WR)
        assert await link.receive() == Want()
        async with asyncio.timeout(30):
            assert await link.receive() is None
        await link.close()
