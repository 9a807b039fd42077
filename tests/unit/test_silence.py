"""A process that says nothing is told of once, and when it is back; a listener that slept blames nobody."""

import pytest

from engine.commands.run.silence import LOOKED_EVERY_S, SILENT_S, Silence

LOOKS = round(SILENT_S / LOOKED_EVERY_S)


def quiet(silence: Silence, said: int, looks: int) -> list[float | None]:
    return [silence.look(said, LOOKED_EVERY_S, awaited=True) for _ in range(looks)]


def test_one_that_falls_silent_is_told_of_once_and_when_it_is_back() -> None:
    silence = Silence()
    assert quiet(silence, 3, LOOKS) == [None] * LOOKS
    assert quiet(silence, 3, 3) == [SILENT_S, None, None]
    assert silence.told
    assert silence.look(4, LOOKED_EVERY_S, awaited=True) == SILENT_S + 2 * LOOKED_EVERY_S
    assert not silence.told
    assert quiet(silence, 4, LOOKS)[-1] == SILENT_S, "a second silence is news again"


def test_one_that_speaks_now_and_then_is_never_told_of() -> None:
    silence = Silence()
    for said in range(1, 6):
        assert set(quiet(silence, said, LOOKS)) == {None}


def test_one_for_which_nothing_waits_is_never_told_of() -> None:
    silence = Silence()
    assert {silence.look(1, LOOKED_EVERY_S, awaited=False) for _ in range(2 * LOOKS)} == {None}


@pytest.mark.parametrize("slept_s", [SILENT_S, 1e6])
def test_a_listener_that_slept_itself_blames_nobody(slept_s: float) -> None:
    silence = Silence()
    silence.look(1, LOOKED_EVERY_S, awaited=True)
    assert silence.look(1, slept_s, awaited=True) is None, "what was said meanwhile isn't heard yet"
    assert silence.look(2, LOOKED_EVERY_S, awaited=True) is None
