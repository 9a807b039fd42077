"""The pace finds a target's capacity and keeps to it. Simulated, never slept."""

import heapq
from random import Random

import pytest

from engine.throttle.pace import Pace

REQUEST_UNITS = 25


class Server:
    """Takes `rate` units per second with a burst; what doesn't fit of a request is rejected."""

    def __init__(self, rate: float, burst_s: float = 1.0) -> None:
        self.rate, self.burst_s, self.tokens, self.at = rate, burst_s, rate * burst_s, 0.0

    def take(self, units: float, now: float) -> float:
        self.tokens = min(self.rate * self.burst_s, self.tokens + self.rate * (now - self.at))
        self.at = now
        accepted = min(units, float(int(self.tokens)))
        self.tokens -= accepted
        return accepted


class World:
    """One or more paces that always have work, before one server."""

    def __init__(self, server: Server, paces: int = 1, latency_s: float = 0.01, flight: int = 32) -> None:
        self.server, self.latency_s, self.flight = server, latency_s, flight
        self.paces = [Pace(0.0) for _ in range(paces)]
        self.in_flight = [0] * paces
        self.waking = [False] * paces
        self.events: list[tuple[float, int, int, tuple | None]] = []
        self.number = 0
        self.accepted: list[tuple[float, float]] = []
        self.rejections: list[float] = []
        self.requests: list[float] = []
        for index in range(paces):
            self._push(0.0, index, None)

    def _push(self, at: float, index: int, answer: tuple | None) -> None:
        self.number += 1
        heapq.heappush(self.events, (at, self.number, index, answer))

    def run(self, until: float) -> None:
        while self.events and self.events[0][0] < until:
            now, _, index, answer = heapq.heappop(self.events)
            pace = self.paces[index]
            if answer is None:
                self.waking[index] = False
            else:
                self.in_flight[index] -= 1
                epoch, units, accepted = answer
                pace.account(epoch, units, accepted, units - accepted, now)
            while self.in_flight[index] < self.flight:
                units = max(1.0, min(REQUEST_UNITS, pace.request_units // 1))
                wait_s = pace.wait_s(units, now)
                if wait_s > 0:
                    if not self.waking[index]:
                        self.waking[index] = True
                        self._push(now + wait_s, index, None)
                    break
                epoch = pace.take(units, now)
                accepted = self.server.take(units, now)
                self.requests.append(now)
                self.accepted.append((now, accepted))
                if accepted < units:
                    self.rejections.append(now)
                self.in_flight[index] += 1
                self._push(now + self.latency_s, index, (epoch, units, accepted))

    def utilisation(self, since: float, until: float) -> float:
        taken = sum(units for at, units in self.accepted if since <= at < until)
        return taken / (self.server.rate * (until - since))

    def rejected_share(self, since: float, until: float) -> float:
        requests = sum(since <= at < until for at in self.requests)
        return sum(since <= at < until for at in self.rejections) / requests


@pytest.mark.parametrize(("rate", "rejected_max"), [(200.0, 0.03), (1000.0, 0.015), (4000.0, 0.01)])
@pytest.mark.parametrize("latency_s", [0.005, 0.05])
def test_a_steady_capacity_is_used_with_hardly_a_rejection(rate, latency_s, rejected_max):
    world = World(Server(rate), latency_s=latency_s)
    world.run(60.0)
    assert world.utilisation(20.0, 60.0) >= 0.97
    assert world.rejected_share(20.0, 60.0) < rejected_max


def test_two_processes_share_a_capacity_that_neither_knows():
    world = World(Server(4000.0), paces=2)
    world.run(60.0)
    assert world.utilisation(20.0, 60.0) >= 0.97
    assert world.rejected_share(20.0, 60.0) < 0.03


def test_the_pace_follows_a_capacity_that_falls_and_rises():
    world = World(Server(4000.0))
    world.run(30.0)
    world.server.rate = 1000.0
    world.server.tokens = 0.0
    world.run(60.0)
    assert world.utilisation(32.0, 60.0) >= 0.97
    world.server.rate = 8000.0
    world.run(110.0)
    assert world.utilisation(80.0, 110.0) >= 0.97
    assert world.rejected_share(80.0, 110.0) < 0.01


def test_a_target_without_burst_is_used_too():
    world = World(Server(4000.0, burst_s=0.05))
    world.run(60.0)
    assert world.utilisation(20.0, 60.0) >= 0.97


@pytest.mark.parametrize("cap", [50.0, 1000.0, 4000.0])
def test_the_cap_is_never_exceeded_by_more_than_two_percent_in_ten_seconds(cap):
    world = World(Server(100_000.0))
    world.paces[0].cap(cap, 0.0)
    world.run(40.0)
    for start in range(30):
        taken = sum(units for at, units in world.accepted if start <= at < start + 10)
        assert taken <= cap * 10 * 1.02
    assert sum(units for at, units in world.accepted if 10 <= at < 40) >= cap * 30 * 0.99


def test_rejections_that_are_not_about_the_rate_do_not_slow_down_to_nothing():
    class Faulty(Server):
        random = Random(4)

        def take(self, units, now):
            return sum(self.random.random() >= 0.02 for _ in range(int(units)))

    world = World(Faulty(100_000.0), flight=4)
    world.run(60.0)
    free = 4 * REQUEST_UNITS / world.latency_s
    taken = sum(units for at, units in world.accepted if 30 <= at < 60) / 30
    assert taken >= 0.8 * free


def test_a_cap_survives_what_was_learned_and_can_be_lifted():
    world = World(Server(2000.0))
    world.run(20.0)
    world.paces[0].cap(500.0, 20.0)
    world.run(40.0)
    assert sum(units for at, units in world.accepted if 20 <= at < 40) <= 500 * 20 * 1.02
    world.paces[0].cap(None, 40.0)
    world.run(80.0)
    assert world.utilisation(60.0, 80.0) >= 0.97


def test_items_that_cost_more_than_thought_are_paid_for_later():
    pace = Pace(0.0)
    pace.cap(100.0, 0.0)
    now, spent = 0.0, 0.0
    while now < 20.0:
        wait_s = pace.wait_s(5, now)
        if wait_s:
            now += wait_s
            continue
        pace.account(pace.take(5, now), 5, 20, 0, now)
        spent += 20
    assert spent <= 20 * 100 * 1.02


def test_rejections_of_one_round_trip_slow_down_once():
    pace = Pace(0.0, start=1000.0)
    epochs = []
    now = 0.0
    for _ in range(40):
        now += pace.wait_s(25, now)
        epochs.append(pace.take(25, now))
    for number, epoch in enumerate(epochs[:-11]):
        pace.account(epoch, 25, 25, 0, now + number / 100)
    now += 0.3
    pace.account(epochs[-11], 25, 20, 5, now)
    pace.account(epochs[-10], 25, 20, 5, now)
    slowed = pace.rate
    assert 900 < slowed < 1000
    for epoch in epochs[-9:]:
        pace.account(epoch, 25, 0, 25, now)
    assert pace.rate == slowed


def test_the_pace_does_not_grow_while_nobody_needs_it():
    pace = Pace(0.0, start=1000.0)
    for second in range(600):
        pace.account(pace.take(10, float(second)), 10, 10, 0, second + 0.01)
    assert pace.rate < 1100


def test_nothing_limits_before_the_first_rejection():
    pace = Pace(0.0)
    assert pace.wait_s(1e9, 0.0) == 0.0
    assert pace.request_units == float("inf")


def test_a_single_item_larger_than_the_bucket_goes_when_the_bucket_is_full():
    pace = Pace(0.0)
    pace.cap(100.0, 0.0)
    wait_s = pace.wait_s(400, 0.0)
    assert wait_s == pytest.approx(0.1)
    pace.take(400, wait_s)
    assert pace.wait_s(1, wait_s) > 3.0


def test_a_slow_run_is_not_slowed_to_nothing_by_chance_rejections() -> None:
    """Few answers a second: one in four rejected is chance as often as not, and must not halve the rate."""
    random = Random(3)
    pace = Pace(0.0, start=500.0)
    now, slowest = 0.0, pace.rate
    for _ in range(2_000):
        now += max(0.1, pace.wait_s(25.0, now))
        rejected = 25.0 if random.random() < 0.06 else 0.0
        pace.account(pace.take(25.0, now), 25.0, 25.0 - rejected, rejected, now)
        slowest = min(slowest, pace.rate)
    assert slowest > 100.0


def fallen() -> tuple[Pace, float]:
    """Return a pace that was at 1000 and has just met rejections, and the time."""
    pace, now = Pace(0.0, start=1000.0), 0.0
    for number in range(60):
        now += max(0.01, pace.wait_s(10.0, now))
        rejected = 5.0 if number > 30 else 0.0
        pace.account(pace.take(10.0, now), 10.0, 10.0 - rejected, rejected, now)
    assert pace.rate < 700.0
    return pace, now


def test_a_pardon_takes_back_what_rejections_did_lately() -> None:
    pace, now = fallen()
    pace.pardon(now)
    assert pace.rate == pytest.approx(1000.0, rel=0.05)


def test_a_pardon_takes_back_nothing_old_and_raises_nothing() -> None:
    pace, now = fallen()
    slow = pace.rate
    pace.pardon(now + 10.0)
    assert pace.rate <= slow * 1.1
    untouched = Pace(0.0, start=500.0)
    untouched.pardon(1.0)
    assert untouched.rate == 500.0


def test_after_a_pardon_answers_to_what_was_sent_before_it_teach_nothing() -> None:
    pace, now = fallen()
    epoch = pace.take(10.0, now)
    pace.pardon(now)
    rate = pace.rate
    for _ in range(50):
        pace.account(epoch, 10.0, 0.0, 10.0, now + 0.5)
    assert pace.rate >= rate


def test_a_pardon_before_the_first_limit_leaves_none() -> None:
    pace, now = Pace(0.0), 0.0
    for _ in range(30):
        now += 0.01
        pace.account(pace.take(10.0, now), 10.0, 8.0, 2.0, now)
    assert pace.rate < float("inf")
    pace.pardon(now)
    assert pace.rate == float("inf")
    assert pace.wait_s(1000.0, now) == 0.0


class Chance(Server):
    """Rejects a share of the requests whatever the rate, for a time; takes nothing at all in an outage."""

    def __init__(self, rate: float, share: float, until: float = 1e9, seed: int = 1) -> None:
        super().__init__(rate)
        self.share, self.until, self.random = share, until, Random(seed)

    def take(self, units: float, now: float) -> float:
        if now < self.until and self.random.random() < self.share:
            return 0.0
        return super().take(units, now)


def accepted_per_s(world: World, since: float, until: float) -> float:
    return sum(units for at, units in world.accepted if since <= at < until) / (until - since)


@pytest.mark.parametrize("start", [float("inf"), 4000.0])
@pytest.mark.parametrize(("latency_s", "flight"), [(0.05, 4), (0.05, 16)])
@pytest.mark.parametrize("share", [0.01, 0.05, 0.2, 0.33])
def test_requests_rejected_by_chance_cost_their_share_and_little_more(share, latency_s, flight, start):
    """As a mean of several runs: what one run loses while it finds out is a matter of luck."""
    free = flight * REQUEST_UNITS / latency_s * (1.0 - share)
    taken = ended = 0.0
    for seed in range(3):
        world = World(Chance(1e9, share, 40.0, seed), latency_s=latency_s, flight=flight)
        world.paces = [Pace(0.0, start)]
        world.run(46.0)
        taken += accepted_per_s(world, 0.0, 40.0) / 3
        ended += accepted_per_s(world, 45.0, 46.0) * (1.0 - share) / 3
    assert taken > 0.7 * free
    assert ended > 0.85 * free, "five seconds after the last of them"


@pytest.mark.parametrize("start", [50.0, 4000.0, 40_000.0])
def test_whatever_the_pace_fell_to_it_climbs_back_within_seconds(start):
    world = World(Chance(1e9, 0.0), flight=128)
    world.paces = [Pace(0.0, start)]
    world.run(10.0)
    before = accepted_per_s(world, 8.0, 10.0)
    world.server.share, world.server.until = 1.0, 25.0
    world.run(25.0)
    assert world.paces[0].rate < 30.0
    world.run(40.0)
    assert accepted_per_s(world, 38.0, 40.0) > 0.9 * before
