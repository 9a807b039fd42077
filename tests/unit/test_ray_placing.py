"""How many workers a cluster gets, and which of those that end are replaced."""

from dataclasses import replace

import pytest

from engine.commands.run.cluster.placing import FULL_LOOKS, REPLACED_MAX, Departure, Places, after
from engine.exits import Exit

FIVE = Places(wanted=5, asks=False)


@pytest.mark.parametrize(
    ("places", "free", "due"),
    [
        (FIVE, 3.9, 3),
        (FIVE, 0.5, 0),
        (FIVE, 64, 5),
        (replace(FIVE, running=4), 8, 1),
        (replace(FIVE, running=5), 8, 0),
        (replace(FIVE, starting=1, running=1), 8, 0),
        (replace(FIVE, asks=True), 0, 5),
        (replace(FIVE, asks=True, starting=5), 8, 0),
    ],
)
def test_no_more_are_placed_than_are_wanted_and_free_or_asked_for(
    places: Places, free: float, due: int
) -> None:
    assert places.due(free) == due


@pytest.mark.parametrize(
    ("running", "free", "there", "looks", "full"),
    [
        (2, 0.0, 2, 1, True),
        (2, 0.5, 8, 1, False),
        (2, 0.5, 8, FULL_LOOKS, True),
        (5, 0.0, 5, 99, False),
        (2, 3.0, 8, 99, False),
    ],
)
def test_a_cluster_is_full_where_nothing_is_free_for_long_or_there_is_too_little(
    running: int, free: float, there: float, looks: int, full: bool
) -> None:
    assert replace(FIVE, running=running).full(free, there, looks) is full


def test_those_that_died_are_replaced_a_bounded_number_of_times() -> None:
    places, said = Places(wanted=2, asks=True), []
    for _ in range(REPLACED_MAX + 1):
        places, told = after(places, Departure(None, "killed", "10.0.0.7"))
        said.append(told)
    assert said[0] == "a worker on the Ray node 10.0.0.7 has ended (killed); another one takes its place"
    assert (
        said[-1]
        == "a worker on the Ray node 10.0.0.7 has ended (killed), as did 3 before it: it isn't replaced"
    )
    assert places.wanted == 1


@pytest.mark.parametrize(
    "ended", [Departure(None, "", node_lost=True), Departure(Exit.INTERRUPTED, "")], ids=["lost", "drained"]
)
def test_nodes_may_go_as_often_as_they_like(ended: Departure) -> None:
    places = FIVE
    for _ in range(100):
        places, told = after(places, ended)
        assert told is not None
        assert "another one joins where there is room" in told
    assert places == FIVE


def test_one_that_is_refused_or_has_nothing_to_do_is_not_replaced() -> None:
    refused, told = after(FIVE, Departure(Exit.UNFIT, "SOURCE_URL isn't set", "10.0.0.7"))
    assert (refused.wanted, told) == (
        4,
        "a worker on the Ray node 10.0.0.7 can't take part: SOURCE_URL isn't set",
    )
    assert after(FIVE, Departure(Exit.DONE, "the run is over")) == (replace(FIVE, wanted=4), None)
