"""A process that dies is reaped and replaced, a bounded number of times; the first worker is this process."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.commands.run import processes
from engine.commands.run.crew import REPLACED_MAX, Crew, Errand, WorkingCrew
from engine.commands.run.processes import Boot, WorkerProcess
from engine.contracts.target import TargetAbilities
from engine.errors import PermanentError
from engine.tenure import Tenure
from tests.support.fakes import FakeSource, FakeTarget, line
from tests.support.writing import on_virtual_time

LATE_S = 5.0


class Dead:
    """A process that was killed, and the link to it."""

    returncode = -9
    heard = True

    async def close(self) -> None: ...

    async def wait(self) -> None: ...


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What each process that is started notes in."""
    found: list[str] = []

    async def spawn(boot: Boot, lease_fd: int | None) -> WorkerProcess:
        found.append(str(boot.words))
        return WorkerProcess(cast("Any", Dead()), cast("Any", Dead()))

    monkeypatch.setattr(processes, "spawn", spawn)
    monkeypatch.setattr("engine.job.handed.write", lambda job: "{}")
    return found


def crew_of(workers: int, said: list[str], *, replaces: bool = True) -> WorkingCrew:
    async def hand_over() -> str:
        return ""

    connector = SimpleNamespace(hand_over=hand_over, abilities=TargetAbilities(late_s=LATE_S))
    target = SimpleNamespace(as_text=lambda: "")
    ends = SimpleNamespace(job=None, source=FakeSource({}), target=target, connector=connector)
    prepared = SimpleNamespace(ends=ends, store=SimpleNamespace(tenure=Tenure(), lease_fd=None))
    errand = Errand(
        line(FakeSource({}), FakeTarget()),
        None,
        lambda boot, n: replace(boot, words=str(n)),
        replaces=replaces,
    )
    return WorkingCrew(cast("Any", prepared), Crew(workers, 2), errand, said.append)


async def test_this_process_works_first_and_the_others_join(started: list[str]) -> None:
    crew = crew_of(3, [])
    own = await crew.joining()
    assert started == [], "it would wait for a second of imports"
    assert not isinstance(own, Dead)
    for _ in range(2):
        await crew.joining()
    assert started == ["1", "2"], "each notes on its own"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(crew.joining(), 0.01)
    await crew.end()


@on_virtual_time
async def test_one_that_dies_is_replaced_and_its_requests_are_waited_for(started: list[str]) -> None:
    said: list[str] = []
    crew = crew_of(2, said)
    await crew.joining()
    link, loop = await crew.joining(), asyncio.get_running_loop()
    began, burial = loop.time(), asyncio.create_task(crew.buried(link))
    await crew.joining()
    assert not burial.done(), "its place is taken while its last requests are waited for"
    assert await burial == "killed by SIGKILL"
    assert loop.time() - began >= LATE_S
    assert (started, crew.replaced) == (["1", "2"], 1)
    assert said == [
        "a worker process died (killed by SIGKILL); another one takes its place (1 of 3), and what it was"
        " reading is read on from its last mark"
    ]
    await crew.end()


@on_virtual_time
async def test_more_than_a_few_end_the_run(started: list[str]) -> None:
    crew = crew_of(2, [])
    await crew.joining()
    for _ in range(REPLACED_MAX):
        await crew.buried(await crew.joining())
    with pytest.raises(PermanentError, match=r"a worker process died .* as did 3 before it"):
        await crew.buried(await crew.joining())
    assert len(started) == 1 + REPLACED_MAX
    await crew.end()


async def test_one_whose_notes_are_gone_with_it_ends_the_pass(started: list[str]) -> None:
    said: list[str] = []
    crew = crew_of(2, said, replaces=False)
    await crew.joining()
    with pytest.raises(PermanentError, match="a worker process died"):
        await crew.buried(await crew.joining())
    assert (len(started), said) == (1, [])
    await crew.end()


async def test_a_process_that_can_not_be_started_is_a_sentence(
    started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(boot: Boot, lease_fd: int | None) -> WorkerProcess:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(processes, "spawn", full)
    crew = crew_of(2, [])
    await crew.joining()
    with pytest.raises(PermanentError, match=r"can't be started \(Resource temporarily unavailable\)"):
        await crew.joining()
    await crew.end()
