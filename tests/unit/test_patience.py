"""A source that is away is waited for as long as was promised, and no longer."""

import asyncio

from connectors.patience import BACKOFF_MAX_S, Patience
from engine.errors import RetriesExhausted, TransientError
from tests.support.virtual_time import run_virtual

AWAY = TransientError("source: the server is away")


def test_it_ends_after_the_time_that_was_promised_and_says_how_to_go_on() -> None:
    async def until_it_ends() -> tuple[int, float, RetriesExhausted]:
        patience, began = Patience(60.0), asyncio.get_running_loop().time()
        for tries in range(1_000):
            try:
                await patience.wait(AWAY)
            except RetriesExhausted as error:
                return tries, asyncio.get_running_loop().time() - began, error
        raise AssertionError("it never ends")

    tries, waited_s, error = run_virtual(until_it_ends())
    assert 60 - BACKOFF_MAX_S <= waited_s <= 60
    assert tries < 20, "a server that comes back isn't met by a storm"
    assert error.__cause__ is AWAY
    assert str(error) == "source: the server is away; gave up after 60 s, run again to resume"


def test_whatever_is_read_gives_it_all_back() -> None:
    async def now_and_then() -> float:
        patience, began = Patience(20.0), asyncio.get_running_loop().time()
        for _ in range(10):
            for _ in range(4):
                await patience.wait(AWAY)
            patience.rewarded()
            await asyncio.sleep(60)
        return asyncio.get_running_loop().time() - began

    assert run_virtual(now_and_then()) > 600
