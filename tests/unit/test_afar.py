"""Workers of other hosts in a run: what is durable before they write, and when that is taken back."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.batch import Segment
from engine.commands import ends
from engine.commands.run import waiting
from engine.commands.run.afar import NOTED_MAX, Afar
from engine.commands.run.crew import Crew, Errand, WorkingCrew
from engine.commands.run.door import Door
from engine.contracts.source import SourceAbilities
from engine.contracts.target import TargetAbilities
from engine.errors import PermanentError
from engine.run import beats
from engine.run.beats import HoldView
from engine.run.greeting import Welcome
from engine.run.link import Assign, Drain
from engine.run.voice import Voice
from engine.state.beside import ELSEWHERE, KeptView
from engine.tenure import Tenure
from tests.support.fakes import FakeSource, FakeTarget, line
from tests.support.writing import on_virtual_time

LATE_S = 5.0
KEPT = KeptView("run-1", ("own",))


class Wire:
    def __init__(self) -> None:
        self.sent: list[object] = []

    def send(self, message: object) -> None:
        self.sent.append(message)

    async def receive(self) -> None:
        return None

    async def close(self) -> None: ...

    def abort(self) -> None: ...


class Dialled:
    """A worker in the line."""

    def __init__(self, name: str, log: list[object]) -> None:
        self.name, self.gone, self.wire, self._log = name, False, Wire(), log

    def welcomed(self, welcome: Welcome) -> Wire:
        self._log.append(welcome)
        return self.wire

    async def sent_home(self, why: str) -> None:
        self._log.append(why)


class Store:
    def __init__(self, log: list[object]) -> None:
        self.tenure, self._log, self.fails = Tenure(), log, False

    async def keep_beside(self, name: str, text: str | None) -> None:
        if self.fails:
            raise PermanentError("the state can't be written")
        self._log.append((name, text))


class Scene:
    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, cursors_max: int | None = None, hold_view: Any = None
    ) -> None:
        monkeypatch.setattr("engine.job.handed.as_written", lambda job: "{}")
        self.log: list[object] = []
        self.voice = Voice(())
        self.store = Store(self.log)
        parts = {"source": "1", "mapping": "2", "target": "3"}
        job = SimpleNamespace(hook=None, directory=None, fingerprint_parts=lambda: parts)
        ticket = SimpleNamespace(cursors_max=cursors_max, as_json=lambda: "ticket")
        connector = SimpleNamespace(abilities=TargetAbilities(late_s=LATE_S))
        ends = SimpleNamespace(
            job=job,
            source=SimpleNamespace(ticket=ticket, abilities=SourceAbilities(hold_view=hold_view)),
            target=SimpleNamespace(as_text=lambda: "target"),
            connector=connector,
        )
        self.prepared = cast(
            "Any", SimpleNamespace(ends=ends, store=self.store, prints={**parts, "source.server": "x"})
        )
        self.line: asyncio.Queue[Any] = asyncio.Queue()
        listener: Any = SimpleNamespace(line=self.line, at="here:1")
        self.afar = Afar(self.prepared, Door(listener, "token", None), self.voice, KEPT)

    def worker(self, name: str = "there:7") -> Any:
        return Dialled(name, self.log)


async def test_it_is_durable_that_others_may_write_before_one_is_told_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch)
    assert await scene.afar.admit(scene.worker()) is not None
    kept, welcome = scene.log
    assert kept == (ELSEWHERE, f"{beats.SILENCE_S + LATE_S + beats.MARGIN_S}")
    assert isinstance(welcome, Welcome)
    assert (welcome.jobs[0].parts, welcome.silence_s) == (
        {"source": "1", "mapping": "2", "target": "3"},
        beats.SILENCE_S,
    )
    assert scene.voice.notices == ["the worker there:7 joins"]


@pytest.mark.parametrize("held", [False, True])
async def test_that_is_taken_back_only_when_nothing_of_them_can_come(
    monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    scene = Scene(monkeypatch)
    links = [await scene.afar.admit(scene.worker(name)) for name in ("a", "b")]
    scene.log.clear()
    if held:
        assert links[1] is not None
        links[1].send(Assign(Segment(1, None, None, None), None))
    await scene.afar.end()
    assert scene.log == ([] if held else [(ELSEWHERE, None)])


async def test_where_nobody_has_joined_there_is_nothing_to_take_back(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    await scene.afar.end()
    assert scene.log == []


async def test_a_state_that_can_not_be_written_at_the_end_costs_no_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch)
    await scene.afar.admit(scene.worker())
    scene.store.fails = True
    await scene.afar.end()
    assert scene.voice.notices[-1] == "the state can't be written"


async def test_no_more_read_than_the_source_lets(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, cursors_max=5)
    scene.afar.leave_room_for(Crew(1, 2))
    assert [await scene.afar.admit(scene.worker()) is not None for _ in range(3)] == [True, True, False]
    assert [each.cursors for each in scene.log if isinstance(each, Welcome)] == [2, 1]
    assert "source.max_connections" in str(scene.log[-1])


async def test_what_one_that_is_buried_has_read_by_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, cursors_max=2)
    first = await scene.afar.admit(scene.worker())
    assert first is not None
    first.send(Assign(Segment(1, None, None, None), None))
    assert await first.receive() is None, "it is lost"
    assert await scene.afar.admit(scene.worker()) is None, "it may still read"
    monkeypatch.setattr(beats, "sleep", lambda _: asyncio.sleep(0))
    await first.buried()
    assert await scene.afar.admit(scene.worker()) is not None


@pytest.mark.parametrize(("cursors_max", "asked"), [(None, 1), (3, 1), (2, 0)])
async def test_one_is_asked_to_keep_the_view_where_the_source_has_room(
    monkeypatch: pytest.MonkeyPatch, cursors_max: int | None, asked: int
) -> None:
    scene = Scene(monkeypatch, cursors_max, hold_view=lambda: None)
    workers = [scene.worker(), scene.worker()]
    for each in workers:
        await scene.afar.admit(each)
    assert [each.wire.sent.count(HoldView()) for each in workers] == [asked, 0]


async def test_one_that_has_left_the_line_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    worker = scene.worker()
    worker.gone = True
    assert await scene.afar.admit(worker) is None
    assert scene.log == []


async def test_a_report_keeps_no_more_sentences_than_it_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    for number in range(2 * NOTED_MAX):
        await scene.afar.admit(scene.worker(f"there:{number}"))
    assert len(scene.voice.notices) == NOTED_MAX


async def test_they_join_beside_the_runners_own_and_are_buried_by_their_beats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch)
    errand = Errand(line(FakeSource({}), FakeTarget()), None, lambda boot, _: boot)
    crew = WorkingCrew(scene.prepared, Crew(1, 1), errand, lambda _: None, scene.afar)
    letting_in = asyncio.create_task(crew.let_in())
    own = await crew.joining()
    worker = scene.worker()
    scene.line.put_nowait(worker)
    link = await crew.joining()
    assert own is not link
    assert await crew.buried(link) == "there:7", "it held nothing: nobody waits"
    late = scene.worker("late:1")
    scene.line.put_nowait(late)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    letting_in.cancel()
    await crew.end()
    assert isinstance(worker.wire.sent[-1], Drain)
    assert scene.line.get_nowait() is late, "the door sends it home"


@on_virtual_time
async def test_a_run_that_reads_nothing_itself_says_that_nobody_is_there_and_ends_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    scene = Scene(monkeypatch)
    monkeypatch.setattr(scene.voice, "say", said.append)
    errand = Errand(line(FakeSource({}), FakeTarget()), None, lambda boot, _: boot)
    crew = WorkingCrew(scene.prepared, Crew(0, 0), errand, lambda _: None, scene.afar)
    letting_in = asyncio.create_task(crew.let_in())
    scene.line.put_nowait(scene.worker())
    link = await crew.joining()
    joining = asyncio.create_task(crew.joining())
    await asyncio.sleep(2 * waiting.NOBODY_S)
    assert not joining.done(), "one is there"
    assert said == []
    assert await link.receive() is None, "it is lost"
    with pytest.raises(PermanentError, match=r"no worker has been there .* nothing that was done is lost"):
        await joining
    assert "waiting for one to dial in at here:1; in" in said[0]
    letting_in.cancel()
    await crew.end()


class Elsewhere:
    """A store that a killed runner has left."""

    def __init__(self, wait_s: float | None) -> None:
        self.wait_s, self.closed = wait_s, False

    async def beside(self, name: str) -> str | None:
        return None if self.wait_s is None else str(self.wait_s)

    async def keep_beside(self, name: str, text: str | None) -> None:
        assert (name, text) == (ELSEWHERE, None)
        self.wait_s = None

    async def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("wait_s", [None, 20.0])
async def test_whoever_takes_a_job_up_waits_for_what_may_still_be_written(
    monkeypatch: pytest.MonkeyPatch, wait_s: float | None
) -> None:
    store, said, slept = Elsewhere(wait_s), list[str](), list[float]()

    async def opened(*_: object) -> Elsewhere:
        return store

    async def sleep(delay_s: float) -> None:
        assert store.wait_s == wait_s, "killed here, the next one waits, too"
        slept.append(delay_s)

    monkeypatch.setattr(ends, "STATES", {"sqlite": SimpleNamespace(open=opened)})
    monkeypatch.setattr(ends, "sleep", sleep)
    job = cast("Any", SimpleNamespace(state=SimpleNamespace(type="sqlite")))
    assert await ends.open_store(job, cast("Any", None), said.append) is store
    assert slept == ([] if wait_s is None else [20.0])
    assert store.wait_s is None
    assert len(said) == len(slept)


async def test_whoever_is_stopped_while_waiting_gives_the_lease_back(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Elsewhere(20.0)

    async def opened(*_: object) -> Elsewhere:
        return store

    monkeypatch.setattr(ends, "STATES", {"sqlite": SimpleNamespace(open=opened)})
    job = cast("Any", SimpleNamespace(state=SimpleNamespace(type="sqlite")))
    waiting = asyncio.create_task(ends.open_store(job, cast("Any", None), lambda _: None))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (store.closed, store.wait_s) == (True, 20.0)
