"""Several coroutines side by side, with one fault in place of a group.

Invariant: when `together` returns or raises, none of them is running any more.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

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


def _first(faults: BaseExceptionGroup[BaseException]) -> BaseException:
    leaves = list(_leaves(faults))
    return next((leaf for leaf in leaves if isinstance(leaf, BackfillError)), leaves[0])


def _leaves(faults: BaseExceptionGroup[BaseException]) -> Iterable[BaseException]:
    for fault in faults.exceptions:
        if isinstance(fault, BaseExceptionGroup):
            yield from _leaves(fault)
        else:
            yield fault
