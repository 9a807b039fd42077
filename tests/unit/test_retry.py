"""What is away is waited for as long as was promised, and no longer; pauses grow within their bounds."""

import asyncio
from random import Random

import pytest

from connectors.patience import BACKOFF_MAX_S, with_source
from engine.errors import PermanentError, RetriesExhausted, TransientError
from engine.retry import Patience, RetryPolicy, patiently
from tests.support.virtual_time import run_virtual

AWAY = TransientError("source: the server is away")


def test_it_ends_after_the_time_that_was_promised_and_says_how_to_go_on() -> None:
    async def until_it_ends() -> tuple[int, float, RetriesExhausted]:
        patience, began = with_source(60.0), asyncio.get_running_loop().time()
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
        patience, began = with_source(20.0), asyncio.get_running_loop().time()
        for _ in range(10):
            for _ in range(4):
                await patience.wait(AWAY)
            patience.rewarded()
            await asyncio.sleep(60)
        return asyncio.get_running_loop().time() - began

    assert run_virtual(now_and_then()) > 600


def test_pauses_grow_and_stay_within_their_bounds() -> None:
    policy, random = RetryPolicy(0.02, 2.0), Random(7)
    for attempt in range(1, 200):
        assert 0.02 <= policy.pause_s(attempt, random) <= min(2.0, 0.02 * 3**attempt)
    assert len({policy.pause_s(5, random) for _ in range(50)}) == 50


def test_what_passes_is_tried_again_and_what_does_not_is_raised_at_once() -> None:
    script = [AWAY, AWAY, "read", PermanentError("gone")]

    async def attempt() -> str:
        step = script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    async def twice() -> None:
        patience = Patience(RetryPolicy(0.1, 1.0), Random(7))
        assert await patiently(attempt, patience, TransientError) == "read"
        with pytest.raises(PermanentError, match="gone"):
            await patiently(attempt, patience, TransientError)

    run_virtual(twice())
    assert not script


def test_a_policy_without_words_of_its_own_says_what_went_wrong_last() -> None:
    async def until_it_ends() -> None:
        patience = Patience(RetryPolicy(0.1, 1.0, give_up_after_s=3.0))
        while True:
            await patience.wait(AWAY)

    with pytest.raises(RetriesExhausted, match=r"^source: the server is away$"):
        run_virtual(until_it_ends())
