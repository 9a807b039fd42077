"""Helpers of other hosts: who is let in, what becomes of their files, and how a cap is shared among them."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.batch import Segment
from engine.commands.helpers import FilePart, Gone, Helpers
from engine.commands.helpers_afar import CallAfar, Calling, HelperAfar, WorkerAfarEnd
from engine.commands.plan.orders import MeasureOrder, SegmentMeasured
from engine.commands.verify.orders import ShareOrder
from engine.commands.verify.shares import Shares
from engine.errors import PermanentError
from engine.run import beats
from engine.run.beats import Beat, Granted, Left
from engine.run.greeting import Welcome
from engine.run.link import Drain
from engine.run.wire import OF_WORKER


class Line:
    """A wire whose other end a test is."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.coming: asyncio.Queue[Any] = asyncio.Queue()
        self.aborted = False

    def send(self, message: Any) -> None:
        self.sent.append(message)

    async def receive(self) -> Any:
        return await self.coming.get()

    async def close(self) -> None: ...

    def abort(self) -> None:
        self.aborted = True


def end_of(line: Line) -> WorkerAfarEnd:
    return WorkerAfarEnd(cast("Any", line), "there:7")


def helper_at(line: Line, told: Callable[[str], None] = print) -> HelperAfar[Any, Any]:
    return HelperAfar(end_of(line), told, 2, {}, durable=True, advice="make room")


def order(place: Path) -> MeasureOrder:
    return MeasureOrder(1, Segment(1, None, None, None), str(place), None)


async def asked(helper: HelperAfar[Any, Any], place: Path) -> "asyncio.Task[Any]":
    """Ask, and return once that is sent."""
    asking = asyncio.create_task(helper.ask(order(place)))
    await asyncio.sleep(0)
    return asking


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


MEASURED = SegmentMeasured(1, 10, {}, (), "")


async def test_a_beat_is_answered_and_silence_is_the_end() -> None:
    line = Line()
    end = end_of(line)
    line.coming.put_nowait(Beat(3))
    line.coming.put_nowait(Left("it was asked to stop"))
    assert await end.receive() is None
    assert line.sent == [Granted(3, beats.SILENCE_S)]
    assert (end.how, end.left_s) == ("the worker there:7 has left: it was asked to stop", 0.0)


async def test_one_that_says_nothing_is_lost_and_may_read_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(beats, "SILENCE_S", 0.05)
    monkeypatch.setattr(beats, "MARGIN_S", 1000.0)
    line = Line()
    end = end_of(line)
    line.coming.put_nowait(Beat(1))
    assert await end.receive() is None
    assert end.how == "the worker there:7 is lost: it has said nothing for 0.05 s"
    assert line.aborted
    assert 0.0 < end.left_s < beats.MARGIN_S


async def test_files_stand_before_the_answer_does(tmp_path: Path) -> None:
    line = Line()
    helper, place = helper_at(line), tmp_path / "1"
    asking = await asked(helper, place)
    for name, data in (("part-0", b"ab"), ("part-0", b"cd"), ("part-1", b"e")):
        line.coming.put_nowait(FilePart(1, name, data))
    line.coming.put_nowait(MEASURED)
    assert await asking == MEASURED
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {"part-0": b"abcd", "part-1": b"e"}
    await helper.end()
    assert line.sent[-1] == Drain()


async def test_of_one_that_is_lost_nothing_is_left(tmp_path: Path) -> None:
    line, told = Line(), list[str]()
    helper, place = helper_at(line, told.append), tmp_path / "1"
    asking = await asked(helper, place)
    line.coming.put_nowait(FilePart(1, "part-0", b"half"))
    line.coming.put_nowait(None)
    with pytest.raises(Gone):
        await asking
    assert not place.exists()
    assert told == [
        "the worker there:7 is lost: its connection has ended; what it was doing is done by others"
    ]
    with pytest.raises(Gone):
        await helper.ask(order(place))


@pytest.mark.parametrize("name", ["../part-0", "/part-0", "part-0/x", "part-", "keys"])
async def test_no_file_has_another_name(tmp_path: Path, name: str) -> None:
    line = Line()
    asking = await asked(helper_at(line), tmp_path / "1")
    line.coming.put_nowait(FilePart(1, name, b"x"))
    with pytest.raises(PermanentError, match="speaks of a file"):
        await asking
    assert files_below(tmp_path) == []


class Applicant:
    """One in the line."""

    gone = False

    def __init__(self, log: list[Any]) -> None:
        self.name, self.line, self._log = "there:7", Line(), log

    def called(self, welcome: Welcome, *, says: Any, hears: Any) -> Line:
        self._log.append(welcome.cursors)
        return self.line

    async def sent_home(self, why: str) -> None:
        self._log.append(why)


async def test_no_more_read_than_the_source_lets_and_one_that_is_gone_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue, log = asyncio.Queue[Any](), list[Any]()
    door: Any = SimpleNamespace(listener=SimpleNamespace(line=queue))
    call = CallAfar("plan", (), None, OF_WORKER, OF_WORKER, cursors=2, cursors_max=5, here=2, advice="")
    helpers: Helpers[Any, Any] = Helpers(2, print)
    taking_in = asyncio.create_task(Calling(call, door, helpers, print).take_in())
    applicants = [Applicant(log) for _ in range(4)]
    for each in applicants[:3]:
        queue.put_nowait(each)
    while len(log) < 3:
        await asyncio.sleep(0)
    assert log[:2] == [2, 1]
    assert "source.max_connections" in log[2]
    applicants[0].line.coming.put_nowait(None)
    while helpers.all[0].there:
        await asyncio.sleep(0)
    queue.put_nowait(applicants[3])
    while len(log) < 4:
        await asyncio.sleep(0)
    assert log[3] == 2
    taking_in.cancel()
    for helper in helpers.all:
        await helper.end()


class Scanner:
    """A helper that may go, and reads on for a while."""

    def __init__(self) -> None:
        self.there, self.settled, self.units = True, False, 0.0

    async def ask(self, order: ShareOrder) -> None:
        await asyncio.sleep(0)
        if not self.there:
            raise Gone
        self.units = order.max_rcu
        Scanner.see()

    async def buried(self) -> None:
        self.settled, self.units = True, 0.0

    see: Callable[[], None] = staticmethod(lambda: None)


@pytest.mark.parametrize("scans_itself", [True, False])
async def test_all_together_never_read_more_than_the_cap(
    scans_itself: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, scanners, sums = [0.0], [Scanner() for _ in range(4)], list[float]()

    def set_own(units: float) -> None:
        own[0] = units
        Scanner.see()

    monkeypatch.setattr(
        Scanner, "see", lambda: sums.append(own[0] + sum(scanner.units for scanner in scanners))
    )
    shares = Shares(100.0, set_own if scans_itself else None)
    one, two, three, four = cast("Any", scanners)
    if scans_itself:
        await shares.see_to(None)
        assert own == [100.0]
    await asyncio.gather(*(shares.see_to(each) for each in (one, two)))
    assert [one.units, two.units, own[0]] == ([100 / 3] * 3 if scans_itself else [50.0, 50.0, 0.0])
    two.there = False  # it reads on with what it has
    await shares.see_to(three)
    assert sum(sums[-1:]) == pytest.approx(100.0)
    await two.buried()
    await shares.see_to(three)
    assert one.units == three.units == pytest.approx(100 / 3 if scans_itself else 50.0)
    one.there = three.there = False
    if not scans_itself:
        await shares.see_to(four)  # all of it was with those two: it waits for one of them
        assert (one.settled, three.settled, four.units) == (True, False, 50.0)
    await shares.end()
    assert all(each.settled for each in (one, three))
    assert max(sums) <= 100.0 + 1e-9


async def test_without_a_cap_nobody_is_told_of_one() -> None:
    scanner: Any = Scanner()
    shares = Shares(None, pytest.fail)
    await shares.see_to(None)
    await shares.see_to(scanner)
    await shares.end()
    assert scanner.units == 0.0
