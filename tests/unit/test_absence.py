"""What is away is told of once, and once that it is back; a moment is nobody's news."""

from random import Random

import pytest

from engine.absence import TOLD_AFTER_S, Absence
from engine.errors import RetriesExhausted, TransientError
from engine.retry import Patience, RetryPolicy

AWAY = TransientError("no server answers; check the network, then run again")
GONE, BACK = "gone (no server answers)", "back"


class Busy(TransientError):
    """It is there."""


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def absence(told: list[str]) -> Absence:
    return Absence("gone ({error})", BACK, told.append, answers=(Busy,))


def test_several_who_wait_tell_it_once_and_the_last_who_goes_on_tells_that_it_is_back(
    absence: Absence, told: list[str]
) -> None:
    one, other, idle = (Patience(RetryPolicy(0.0, 0.0), Random(1)) for _ in range(3))
    for who in (one, other):
        absence.failed(who, AWAY, TOLD_AFTER_S)
    assert told == [GONE]
    absence.succeeded(one)
    absence.succeeded(idle)
    assert told == [GONE], "one still waits"
    absence.succeeded(other)
    absence.succeeded(one)
    assert told == [GONE, BACK]
    absence.failed(one, AWAY, TOLD_AFTER_S)
    assert told == [GONE, BACK, GONE], "a second time is news again"


def test_who_waited_and_gave_up_keeps_nobody_from_telling_that_it_is_back(
    absence: Absence, told: list[str]
) -> None:
    given_up = Patience(RetryPolicy(0.0, 0.0), Random(1))
    absence.failed(given_up, AWAY, TOLD_AFTER_S)
    del given_up
    absence.succeeded(Patience(RetryPolicy(0.0, 0.0), Random(1)))
    assert told == [GONE, BACK]


def test_a_moment_and_an_answer_that_is_no_are_not_told(absence: Absence, told: list[str]) -> None:
    who = Patience(RetryPolicy(0.0, 0.0), Random(1))
    absence.failed(who, AWAY, TOLD_AFTER_S / 2)
    absence.failed(who, Busy("throttled"), 100 * TOLD_AFTER_S)
    absence.succeeded(who)
    assert told == []


async def test_patience_tells_how_it_goes(told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.absence.TOLD_AFTER_S", 0.0)
    absence = Absence("gone ({error})", BACK, told.append)
    patience = Patience(RetryPolicy(0.0, 0.0), Random(1), absence)
    await patience.wait(AWAY)
    patience.rewarded()
    assert told == [GONE, BACK]
    with pytest.raises(RetriesExhausted):
        await Patience(RetryPolicy(0.1, 0.1, give_up_after_s=0.0), Random(1), absence).wait(AWAY)
    assert told == [GONE, BACK], "whoever gives up says so itself"
