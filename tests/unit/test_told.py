"""What a source has to say is told once and in order; one that is opened anew says only what is new of it."""

from types import SimpleNamespace
from typing import Any

from engine.commands.told import source_heard


def saying(*notices: str) -> Any:
    return SimpleNamespace(notices=list(notices))


async def test_what_is_new_is_told_once_and_the_last_of_it_at_the_end() -> None:
    source, told = saying("opened"), list[str]()
    async with source_heard(lambda: source, told.append) as tell:
        assert told == ["opened"]
        source.notices += ["away", "back"]
        tell()
        tell()
        assert told == ["opened", "away", "back"]
        source.notices.append("away")
    assert told == ["opened", "away", "back", "away"]


async def test_what_was_told_before_is_not_told_again() -> None:
    source, told = saying("opened"), list[str]()
    async with source_heard(lambda: source, told.append, 1):
        source.notices.append("away")
    assert told == ["away"]


async def test_one_that_is_opened_anew_says_what_it_has_to_say_from_then_on() -> None:
    source, told = saying("opened"), list[str]()
    async with source_heard(lambda: source, told.append) as tell:
        source = saying("opened", "goes on with a newer snapshot")
        tell()
        source.notices.append("away")
    assert told == ["opened", "away"]
