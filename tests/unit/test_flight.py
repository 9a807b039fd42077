"""A request that the others overtake holds no place; one among many that are slow does."""

from connectors.dynamodb.writing.flight import OVERTAKEN, Flight


def test_places_are_held_until_the_requests_end():
    flight = Flight()
    numbers = [flight.sent() for _ in range(3)]
    assert flight.full(3)
    assert not flight.full(4)
    flight.ended(numbers[1])
    assert not flight.full(3)


def test_a_request_that_many_overtake_gives_its_place_back():
    flight = Flight()
    lost = flight.sent()
    for _ in range(OVERTAKEN * 2):
        assert not flight.full(2)
        flight.ended(flight.sent())
    flight.sent()
    assert not flight.full(2)
    flight.sent()
    assert flight.full(2)
    flight.ended(lost)
    assert flight.full(2), "its place was given back once"


def test_where_nothing_ends_nobody_is_overtaken():
    flight = Flight()
    for _ in range(4):
        flight.sent()
    for _ in range(100):
        assert flight.full(4)


def test_a_target_that_is_away_holds_no_places():
    flight = Flight()
    numbers = [flight.sent() for _ in range(4)]
    flight.give_up()
    assert not flight.full(1)
    flight.sent()
    for number in numbers:
        flight.ended(number)
    assert flight.full(1)
