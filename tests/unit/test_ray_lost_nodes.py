"""A worker's end is its node's where that is gone, however late a cluster says so, and else its own."""

import asyncio
from collections.abc import Sequence

import pytest

from engine.commands.run.cluster.lost_nodes import ASK_S, NOTICED_S, Nodes, is_gone, went_with_node
from tests.support.virtual_time import run_virtual

THERE = Nodes(frozenset({"head", "node"}), frozenset({"earlier"}))
GONE = Nodes(frozenset({"head"}), frozenset({"earlier", "node"}))
OTHER_GONE = Nodes(frozenset({"node"}), frozenset({"earlier", "head"}))
STAYS = 10_000
"""More looks than anybody takes."""


class Answers:
    """What a cluster says at each look: its nodes, and whether the worker's end is still unknown."""

    def __init__(self, nodes: Sequence[Nodes], unknown: Sequence[bool]) -> None:
        self._nodes, self._unknown = [*nodes], [*unknown]
        self.questions = 0

    async def nodes(self) -> Nodes:
        return self._nodes.pop(0)

    async def unreachable(self) -> bool:
        self.questions += 1
        return self._unknown.pop(0)


def told(node_id: str, answers: Answers, *, unreachable: bool) -> tuple[bool, float]:
    """Return what is found out, and after how many seconds."""

    async def ask() -> tuple[bool, float]:
        begun_s = asyncio.get_running_loop().time()
        lost = await went_with_node(node_id, THERE, answers, unreachable=unreachable)
        return lost, asyncio.get_running_loop().time() - begun_s

    return run_virtual(ask())


@pytest.mark.parametrize("node_id", ["node", ""], ids=["it has said where it was", "it hadn't yet"])
@pytest.mark.parametrize(
    ("looks", "unreachable", "unknown", "lost", "asked"),
    [
        pytest.param([GONE], False, [], True, 0, id="a node that is known to be gone"),
        pytest.param([*[THERE] * 5, GONE], True, [True] * 5, True, 5, id="one that is listed for 15 s more"),
        pytest.param([THERE, GONE], True, [False], True, 1, id="one whose worker is known to be dead first"),
        pytest.param([THERE], False, [], False, 0, id="a worker that died by itself"),
        pytest.param([THERE] * 3, True, [True, False], False, 2, id="one that was out of reach at first"),
    ],
)
def test_a_worker_s_end_is_its_node_s_where_that_is_gone(
    node_id: str, looks: list[Nodes], unreachable: bool, unknown: list[bool], lost: bool, asked: int
) -> None:
    answers = Answers(looks, unknown)
    assert told(node_id, answers, unreachable=unreachable) == (lost, asked * ASK_S)
    assert answers.questions == asked


def test_a_worker_that_nobody_reaches_on_a_node_that_is_there_is_not_waited_for_for_ever() -> None:
    answers = Answers([THERE] * STAYS, [True] * STAYS)
    lost, after_s = told("node", answers, unreachable=True)
    assert not lost
    assert NOTICED_S < after_s <= NOTICED_S + ASK_S


def test_another_node_s_end_is_no_end_of_a_worker_that_has_said_where_it_is() -> None:
    assert not is_gone("node", THERE, OTHER_GONE)
    assert is_gone("", THERE, OTHER_GONE), "nobody can tell"
    assert not is_gone("", THERE, THERE), "what was dead before is no news"


def test_a_node_that_came_and_went_while_a_worker_started_is_noticed() -> None:
    assert is_gone("", THERE, Nodes(THERE.alive, THERE.dead | {"short-lived"}))
