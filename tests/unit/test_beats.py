"""Beats: a worker's right to write ends, by its own clock, before its runner gives what it had to others."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from engine.batch import Counts, Cursor, Mark, Segment
from engine.contracts.source import ViewLost
from engine.errors import BackfillError, PermanentError, RetriesExhausted
from engine.run import beats
from engine.run.beats import (
    MARGIN_S,
    SILENCE_S,
    Beat,
    DialledIn,
    Granted,
    HeadLink,
    HoldView,
    Left,
    ViewHeld,
)
from engine.run.link import Advanced, Assign, Drain, Finished, NoMore, Until, Want
from engine.tenure import NEVER, Tenure

LATE_S = 5.0
SLOW_S = 1000.0
"""A silence by which a worker beats once while a test looks."""
MARK = Mark(1, Cursor(("5",)), Counts(), (), done=False)


class Clock:
    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


class Wire:
    """One end of a wire: what was sent, and what is to come; None: it is cut."""

    def __init__(self, *coming: object) -> None:
        self.sent: list[Any] = []
        self._coming: asyncio.Queue[Any] = asyncio.Queue()
        self.cut_off = False
        for each in coming:
            self.come(each)

    def come(self, message: object) -> None:
        self._coming.put_nowait(message)

    def send(self, message: object) -> None:
        self.sent.append(message)

    async def receive(self) -> Any:
        return await self._coming.get()

    async def close(self) -> None:
        self.cut_off = True

    def abort(self) -> None:
        self.cut_off = True


async def so(link: HeadLink, wire: Wire, *coming: object) -> None:
    """Have messages taken in, and one to the worker behind them."""
    for each in (*coming, NoMore()):
        wire.come(each)
    assert await link.receive() == NoMore()


async def test_nothing_is_sent_before_a_beat_was_answered_and_never_longer_than_from_asking() -> None:
    clock, wire = Clock(), Wire()
    link = HeadLink(cast("Any", wire), SLOW_S, clock)
    async with link.alive():
        await so(link, wire)
        assert wire.sent == [Beat(1)]
        assert not link.tenure.held
        clock.s += 3.0
        await so(link, wire, Granted(1, 10.0))
        assert link.tenure.end_s == 1010.0, "counted from when it was asked"
        await so(link, wire, Granted(9, 100.0), Granted(1, 100.0))
        assert link.tenure.end_s == 1010.0, "nobody asked for that, or it was answered"
        clock.s = 1010.0
        assert not link.tenure.held


async def test_a_runner_that_does_not_answer_is_lost_when_the_tenure_is_over() -> None:
    clock, wire = Clock(), Wire()
    link = HeadLink(cast("Any", wire), 0.05, clock)  # a beat each 5 ms
    async with link.alive():
        await so(link, wire, Granted(1, 0.05))
        clock.s += 0.06
        assert await link.receive() is None
    assert link.lost == "the worker has lost its runner: it has heard nothing of it for 0.05 s"
    with pytest.raises(PermanentError, match="lost its runner"):
        link.tenure.prove()
    link.send(Finished(PermanentError(link.lost)))
    assert wire.sent[-1] == Left(link.lost)


@pytest.mark.parametrize(
    ("before", "lost"), [((), True), ((Drain(),), False)], ids=["in the middle", "behind its end"]
)
async def test_a_connection_that_ends_is_a_loss_unless_the_run_is_over(
    before: Sequence[object], lost: bool
) -> None:
    wire = Wire(*before, None)
    link = HeadLink(cast("Any", wire), SLOW_S)
    async with link.alive():
        while not wire._coming.empty():
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert (link.lost is not None) == lost


async def test_a_worker_that_has_finished_has_lost_nobody() -> None:
    wire = Wire()
    link = HeadLink(cast("Any", wire), SLOW_S)
    async with link.alive():
        link.send(Finished())
        wire.come(None)
        while not wire._coming.empty():
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert (link.lost, Finished() in wire.sent) == (None, True)


@pytest.mark.parametrize(
    ("advanced", "error", "leaves"),
    [
        (False, PermanentError("can't import the snapshot"), True),
        (True, PermanentError("a row can't be read"), False),
        (True, ViewLost("the snapshot is gone"), True),
        (True, RetriesExhausted("the source can't be reached"), True),
        (True, None, False),
    ],
)
async def test_a_fault_that_need_not_be_anothers_is_told_as_leaving(
    advanced: bool, error: BackfillError | None, leaves: bool
) -> None:
    wire = Wire()
    link = HeadLink(cast("Any", wire), SLOW_S)
    if advanced:
        link.send(Advanced(MARK))
    link.send(Finished(error))
    assert wire.sent[-1] == (Left(str(error)) if leaves else Finished(error))


async def test_whoever_is_asked_to_stop_drains_and_leaves() -> None:
    wire = Wire()
    link = HeadLink(cast("Any", wire), SLOW_S)
    link.leave("it was asked to stop")
    assert await link.receive() == Drain()
    link.send(Finished())
    assert wire.sent == [Left("it was asked to stop")]


async def test_a_view_is_kept_when_the_runner_asks_for_it_and_it_hears_by_what_it_may_be_opened() -> None:
    wire = Wire()
    link = HeadLink(cast("Any", wire), SLOW_S)
    async with link.alive():
        await so(link, wire, HoldView())
        assert (link.asked_to_hold.is_set(), link.holds) == (True, False)
        link.held(None)
        assert not link.holds
        link.held("by this")
        assert link.holds
    assert wire.sent[-2:] == [ViewHeld(None), ViewHeld("by this")]
    clock, heard = Clock(), list[object]()
    there, _ = dialled(clock, wire := Wire(ViewHeld("by this"), Want()))
    there.hold_view(lambda *told: heard.append(told))
    assert await there.receive() == Want()
    assert (wire.sent, heard) == ([HoldView()], [(there, "by this")])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The runner's clock; whoever sleeps there puts it forward."""
    made = Clock()

    async def sleep(delay_s: float) -> None:
        made.s += delay_s

    monkeypatch.setattr(beats, "boot_s", made)
    monkeypatch.setattr(beats, "sleep", sleep)
    return made


def dialled(clock: Clock, wire: Wire, *, lease_s: float = NEVER) -> tuple[DialledIn, list[str]]:
    said: list[str] = []
    tenure = Tenure(clock.s + lease_s, clock)
    return DialledIn(cast("Any", wire), "there:7", tenure, LATE_S, said.append), said


ASSIGNED = Assign(Segment(1, None, None, None), None)


@pytest.mark.parametrize(("lease_s", "granted_s"), [(NEVER, SILENCE_S), (4.0, 4.0), (-1.0, -1.0)])
async def test_a_beat_is_answered_with_what_the_lease_leaves(
    clock: Clock, lease_s: float, granted_s: float
) -> None:
    wire = Wire(Beat(7), Want())
    link, _ = dialled(clock, wire, lease_s=lease_s)
    assert await link.receive() == Want()
    assert wire.sent == [Granted(7, granted_s)]


async def test_when_a_tenure_ends_is_said_by_beats_and_that_it_is_lost_at_once(clock: Clock) -> None:
    wire = Wire()
    link, _ = dialled(clock, wire)
    link.send(Until(clock.s + 60.0))
    link.send(Until(-NEVER, "another runner has the job"))
    assert wire.sent == [Until(-NEVER, "another runner has the job")]


async def test_what_a_lost_worker_held_waits_for_its_tenure_and_its_last_request(clock: Clock) -> None:
    wire = Wire(Beat(1), None)
    link, said = dialled(clock, wire)
    link.send(ASSIGNED)
    assert await link.receive() is None
    assert not link.settled
    clock.s += 2.0
    await link.buried()
    assert clock.s == 1000.0 + SILENCE_S + LATE_S + MARGIN_S
    assert (link.settled, wire.cut_off) == (True, True)
    assert said == [
        "the worker there:7 is lost: its connection has ended; what it was reading is read on from its last"
        " mark in 20 s"
    ]


async def test_a_worker_that_held_nothing_is_waited_for_by_nobody(clock: Clock) -> None:
    wire = Wire(Beat(1), Advanced(Mark(1, None, Counts(), (), done=True)), None)
    link, _ = dialled(clock, wire)
    link.send(ASSIGNED)
    assert isinstance(await link.receive(), Advanced)
    assert await link.receive() is None
    assert link.settled
    await link.buried()
    assert clock.s == 1000.0


async def test_one_that_leaves_in_the_middle_is_waited_for_as_long_as_a_request_lives(clock: Clock) -> None:
    wire = Wire(Beat(1), Left("the source can't be reached"))
    link, said = dialled(clock, wire)
    link.send(ASSIGNED)
    assert await link.receive() is None
    await link.buried()
    assert clock.s == 1000.0 + LATE_S + MARGIN_S
    assert "has left: the source can't be reached; what it was reading" in said[0]


@pytest.mark.parametrize("holds", [False, True])
async def test_one_that_leaves_with_nothing_or_behind_a_stop_has_finished(clock: Clock, holds: bool) -> None:
    link, said = dialled(clock, Wire(Left("it was asked to stop")))
    if holds:
        link.send(ASSIGNED)
        link.send(Drain())
    assert await link.receive() == Finished()
    assert link.settled != holds, "what it had in flight may still come: the next runner waits"
    assert said == ["the worker there:7 has left: it was asked to stop"]


async def test_one_that_says_nothing_is_lost(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beats, "SILENCE_S", 0.02)
    wire = Wire(Want())
    link, said = dialled(clock, wire)
    assert await link.receive() == Want(), "until then it may take longer: it has to open both ends"
    assert await link.receive() is None
    assert (wire.cut_off, said) == (True, ["the worker there:7 is lost: it has said nothing for 0.02 s"])


async def test_one_that_has_finished_is_settled(clock: Clock) -> None:
    link, said = dialled(clock, Wire(Finished()))
    link.send(ASSIGNED)
    assert await link.receive() == Finished()
    assert (link.settled, said) == (True, [])


def test_a_new_runner_waits_for_a_whole_tenure() -> None:
    assert beats.wait_s(LATE_S) == SILENCE_S + LATE_S + MARGIN_S
