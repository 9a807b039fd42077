"""What several workers say of the same thing is told once."""

from engine.run.echoes import ECHO_S, Echoes


def test_another_workers_echo_is_not_told_but_everything_else_is() -> None:
    echoes = Echoes()
    assert echoes.new(0, "table t can't be reached", 0.0)
    assert not echoes.new(1, "table t can't be reached", 1.0)
    assert echoes.new(1, "table t is back", 2.0)
    assert not echoes.new(0, "table t is back", 2.5)
    assert echoes.new(0, "table t can't be reached", 3.0), "again, by the one who said it first"
    assert echoes.new(1, "table t can't be reached", 3.0 + ECHO_S)
