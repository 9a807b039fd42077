"""The second keeper of a run's view: one at a time, another one when it is gone, and durable by what name."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from engine.commands.run.views import SecondKeeper
from engine.errors import PermanentError
from engine.plain import loaded
from engine.state.beside import VIEW, KeptView

KEPT = KeptView("run-1", ("own",), differ=True)


class Link:
    """A worker of another host."""

    def __init__(self, name: str) -> None:
        self.name, self.there = name, True
        self.asked: list[Callable[[Any, str | None], None]] = []

    def hold_view(self, told: Callable[[Any, str | None], None]) -> None:
        self.asked.append(told)

    def answers(self, view: str | None) -> None:
        self.asked[-1](self, view)


class Store:
    def __init__(self) -> None:
        self.kept: list[KeptView] = []
        self.fails = False

    async def keep_beside(self, name: str, text: str | None) -> None:
        assert name == VIEW
        assert text is not None
        if self.fails:
            raise PermanentError("the state can't be written")
        self.kept.append(loaded(KeptView, text))


class Scene:
    def __init__(self, room: int = 9) -> None:
        self.store, self.said, self.room = Store(), list[str](), room
        self.links = [Link("a"), Link("b"), Link("c")]
        self.keeper = SecondKeeper(cast("Any", self.store), KEPT, self.has_room, self.said.append)

    def has_room(self) -> bool:
        self.room -= 1
        return self.room >= 0

    async def see_to(self) -> list[int]:
        self.keeper.see_to(cast("Any", self.links))
        await self.keeper.end()
        return [len(link.asked) for link in self.links]

    async def answered(self, link: int, view: str | None) -> None:
        self.links[link].answers(view)
        await self.keeper.end()


async def test_one_keeps_it_and_another_one_when_that_is_gone() -> None:
    scene = Scene()
    assert await scene.see_to() == [1, 0, 0]
    await scene.answered(0, "first")
    assert await scene.see_to() == [1, 0, 0]
    assert scene.store.kept == [KeptView("run-1", ("own", "first"), differ=True)]
    scene.links[0].there = False
    assert await scene.see_to() == [1, 1, 0]
    await scene.answered(1, "second")
    assert scene.store.kept[-1].names == ("own", "second")
    assert scene.said == [f"the worker {name} keeps the run's view of the source, too" for name in "ab"]


async def test_one_that_can_not_is_asked_once() -> None:
    scene = Scene()
    await scene.see_to()
    await scene.answered(0, None)
    assert await scene.see_to() == [1, 1, 0]
    assert scene.store.kept == []


async def test_where_the_source_has_no_room_nobody_is_asked() -> None:
    assert await Scene(room=0).see_to() == [0, 0, 0]


async def test_a_name_that_can_not_be_kept_costs_the_run_nothing() -> None:
    scene = Scene()
    scene.store.fails = True
    await scene.see_to()
    await scene.answered(0, "first")
    assert scene.said[-1] == "the state can't be written"
    await asyncio.sleep(0)
