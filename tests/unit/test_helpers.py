"""What is shared out is done once by somebody, whoever goes away; a fault ends it for all."""

import asyncio
from typing import Any

import pytest

from engine.commands.helpers import Gone, Helpers, Todo, carry_out
from engine.errors import PermanentError
from tests.support.virtual_time import run_virtual


class Other:
    """A helper that does so many things and is gone."""

    there = True

    def __init__(self, does: int) -> None:
        self.left = does
        self.did: list[int] = []

    async def ready(self, _: Todo[Any]) -> None:
        await asyncio.sleep(0)

    async def do(self, item: int) -> int | None:
        await asyncio.sleep(0)
        if not self.left:
            raise Gone
        self.left -= 1
        self.did.append(item)
        return None


def with_(*others: Other) -> Helpers[Any, Any]:
    helpers: Helpers[Any, Any] = Helpers(2, print)
    helpers.all += others  # type: ignore[arg-type]
    return helpers


async def test_what_one_that_is_gone_had_is_done_by_others() -> None:
    other, done = Other(3), list[int]()

    async def own(item: int) -> None:
        await asyncio.sleep(0)
        done.append(item)

    await carry_out(Todo(range(20)), own, with_(other), Other.do, 2)
    assert other.did
    assert sorted(done + other.did) == [*range(20)]


async def test_what_is_left_of_one_is_done_too() -> None:
    seen: list[tuple[int, int]] = []

    async def own(item: tuple[int, int]) -> tuple[int, int] | None:
        await asyncio.sleep(0)
        seen.append(item)
        number, left = item
        return (number, left - 1) if left else None

    await carry_out(Todo([(1, 2), (2, 0)]), own, with_(), Other.do, 2)
    assert sorted(seen) == [(1, 0), (1, 1), (1, 2), (2, 0)]


async def test_who_has_nothing_to_do_waits_for_what_may_come_back() -> None:
    todo, came = Todo([1]), list[int | None]()

    async def waiting() -> None:
        came.append(await todo.take())

    assert await todo.take() == 1
    task = asyncio.create_task(waiting())
    await asyncio.sleep(0)
    assert not came
    todo.done(2)
    await task
    assert came == [2]
    todo.done()
    assert todo.over.is_set()
    assert await todo.take() is None


async def test_nothing_to_do_is_done_at_once() -> None:
    await carry_out(Todo[int]([]), pytest.fail, with_(Other(0)), Other.do, 2)


async def test_a_fault_ends_it_for_all() -> None:
    async def own(item: int) -> None:
        if item == 3:
            raise PermanentError("it can't be read")
        await asyncio.sleep(0)

    with pytest.raises(PermanentError, match="can't be read"):
        await carry_out(Todo(range(100)), own, with_(Other(1000)), Other.do, 1)


async def test_one_that_comes_while_others_are_at_it_takes_part() -> None:
    late, helpers = Other(1000), with_()

    async def own(item: int) -> None:
        await asyncio.sleep(0.01)  # all who were there at first have been met
        if item == 3:
            helpers.join(late)  # type: ignore[arg-type]
        while item > 3 and not late.did:
            await asyncio.sleep(0)

    await carry_out(Todo(range(20)), own, helpers, Other.do, 2)
    assert late.did


async def test_who_does_nothing_itself_leaves_all_to_others() -> None:
    other, helpers = Other(1000), Helpers[Any, Any](0, print)
    helpers.join(other)  # type: ignore[arg-type]
    await carry_out(Todo(range(20)), pytest.fail, helpers, Other.do, 2)
    assert sorted(other.did) == [*range(20)]


def test_who_does_nothing_itself_and_has_nobody_says_so_and_ends_in_time() -> None:
    said = list[str]()
    with pytest.raises(PermanentError, match="no worker has been there"):
        run_virtual(carry_out(Todo([1]), pytest.fail, Helpers(0, said.append, "here:1"), Other.do, 2))
    assert "waiting for one to dial in at here:1" in said[0]
