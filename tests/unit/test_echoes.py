"""What several workers say of the same thing is told once."""

from engine.run.echoes import ECHO_S, Echoes, Once


def test_another_workers_echo_is_not_told_but_everything_else_is() -> None:
    echoes = Echoes()
    assert echoes.new(0, "table t can't be reached", 0.0)
    assert not echoes.new(1, "table t can't be reached", 1.0)
    assert echoes.new(1, "table t is back", 2.0)
    assert not echoes.new(0, "table t is back", 2.5)
    assert echoes.new(0, "table t can't be reached", 3.0), "again, by the one who said it first"
    assert echoes.new(1, "table t can't be reached", 3.0 + ECHO_S)


def test_what_nobody_knows_who_says_is_told_again_behind_the_time_of_an_echo() -> None:
    told, now = list[str](), 100.0
    once = Once(told.append, clock=lambda: now)
    once("the source is back")
    once("the source is back")
    now += ECHO_S
    once("the source is back")
    assert told == ["the source is back"] * 2
