"""What the runs of one process share: each table's cap, and the CPU that the process has used."""

import asyncio
from collections.abc import Callable

import pytest

from connectors.dynamodb.section import DynamoDBSection
from engine.run.shared import Caps, OwnUsage
from engine.run.worker import Usage


def table(name: str, cap: float | None = None) -> DynamoDBSection:
    return DynamoDBSection(type="dynamodb", table=name, region="us-east-1", max_wcu=cap)


def at_once() -> float:
    return 0.0


def test_a_cap_is_shared_by_those_that_write_to_one_table() -> None:
    caps, told = Caps(), dict[str, list[float]]()

    def hears(name: str) -> Callable[[float], None]:
        return told.setdefault(name, []).append

    with caps.held(table("one", 4000), hears("a"), at_once):
        with (
            caps.held(table("one", 1000), hears("b"), at_once),
            caps.held(table("other", 100), hears("c"), at_once),
            caps.held(table("one"), hears("none"), at_once),
        ):
            assert {name: shares[-1] for name, shares in told.items() if shares} == {
                "a": 2000,
                "b": 500,
                "c": 100,
            }
        assert told["a"][-1] == 4000
    assert not told["none"], "without a cap there is nothing to share"


async def test_what_may_still_be_applied_keeps_its_share() -> None:
    caps, shares = Caps(), list[float]()
    with caps.held(table("one", 4000), shares.append, at_once):
        with caps.held(table("one", 4000), lambda _: None, lambda: 0.01):
            pass
        assert shares[-1] == 2000
        while shares[-1] == 2000:
            await asyncio.sleep(0.005)
        assert shares[-1] == 4000


def test_the_cpu_of_a_process_is_counted_once() -> None:
    used = Usage(10.0, 7)
    own = OwnUsage(lambda: used)
    with own.counted() as first:
        used = Usage(12.0, 7)
        with own.counted() as second:
            used = Usage(16.0, 8)
            assert (first().cpu_s, second().cpu_s) == (pytest.approx(4.0), pytest.approx(2.0))
        used = Usage(17.0, 8)
        assert first() == Usage(pytest.approx(5.0), 8)
