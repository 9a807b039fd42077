"""Several coroutines side by side, with one fault in place of a group; and what blocks, aside.

Invariant: when `together` or `ended` returns or raises, none of them is running any more; what was put aside
holds up neither the event loop nor the end of the process.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, TypeVar, cast

from engine.errors import BackfillError

T = TypeVar("T")


async def together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines side by side and return their results in order.

    Raises: the first fault of the outside world, else the first fault; the others are cancelled.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as faults:
        raise _first(faults) from faults
    return [task.result() for task in tasks]


async def ended(*tasks: "asyncio.Future[Any] | None") -> None:
    """Cancel tasks, and wait until none of them runs; what they end with is nobody's."""
    given = [task for task in tasks if task is not None]
    for task in given:
        task.cancel()
    await asyncio.gather(*given, return_exceptions=True)


def _first(faults: BaseExceptionGroup[BaseException]) -> BaseException:
    leaves = list(_leaves(faults))
    return next((leaf for leaf in leaves if isinstance(leaf, BackfillError)), leaves[0])


def _leaves(faults: BaseExceptionGroup[BaseException]) -> Iterable[BaseException]:
    for fault in faults.exceptions:
        if isinstance(fault, BaseExceptionGroup):
            yield from _leaves(fault)
        else:
            yield fault


async def aside(work: Callable[[], T]) -> T:
    """Do what may block for long, or for good, in a thread of its own, and return its result.

    The process doesn't wait for it at its end, as it would for `asyncio.to_thread`.
    Raises: what `work` raises.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, fault: Exception | None) -> None:
        if done.done():
            return  # nobody waits any more
        if fault is None:
            done.set_result(cast("T", result))
        else:
            done.set_exception(fault)

    def run() -> None:
        result, fault = None, None
        try:
            result = work()
        except Exception as error:
            fault = error
        with suppress(RuntimeError):  # the event loop is gone
            loop.call_soon_threadsafe(settle, result, fault)

    threading.Thread(target=run, name="aside", daemon=True).start()
    return await done
