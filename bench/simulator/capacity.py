"""How much a table and its indexes take: buckets of units, partitions, and what runs short. Pure.

Invariant: every function is told the time and never asks for it. A write is admitted by everything that it
costs, or costs nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal, NamedTuple, TypeAlias

from bench.simulator.partitions import Partitions
from bench.simulator.settings import TABLE, Capacity, Model, partition_count

Operation: TypeAlias = Literal["Read", "Write"]
Limit: TypeAlias = Literal[
    "AccountLimitExceeded",
    "ProvisionedThroughputExceeded",
    "KeyRangeThroughputExceeded",
    "MaxOnDemandThroughputExceeded",
]


class Shortage(NamedTuple):
    """What was missing: of the table (TABLE) or an index."""

    where: str
    operation: Operation
    limit: Limit

    @property
    def reason(self) -> str:
        """The reason as ThrottlingReasons spell it: resource, operation, limit."""
        return ("Index" if self.where else "Table") + self.operation + self.limit


class Charge(NamedTuple):
    """What a write or read costs the table or an index, at one place of its ring."""

    where: str
    place: int
    units: float


class Bucket:
    """Units that come at a rate and are kept up to a time; a charge may overdraw, and then must wait.

    Source: USENIX ATC 2022, "Amazon DynamoDB": admission by token buckets.
    """

    __slots__ = ("_at", "_steps", "keep_s", "level", "rate", "rates")

    def __init__(self, rate: float, now: float, keep_s: float = 1.0) -> None:
        self.rate = rate
        self.keep_s = keep_s
        self.level = rate
        self._at = now
        self._steps: list[tuple[float, float]] = []
        self.rates = [(now, rate)]
        """Every rate there was, with the time from which it held."""

    def set_rate(self, rate: float, at: float) -> None:
        """Change the rate, then or now."""
        self._steps = sorted([*self._steps, (at, rate)])

    def has(self, now: float) -> bool:
        """Tell whether anything is left."""
        while self._steps and self._steps[0][0] <= now:
            at, rate = self._steps.pop(0)
            self._fill(max(at, self._at))
            self.rate = rate
            self.level = min(self.level, rate * max(self.keep_s, 1.0))
            self.rates.append((max(at, self.rates[-1][0]), rate))
        self._fill(now)
        return self.level > 0

    def take(self, units: float) -> None:
        """Take what `has` promised."""
        self.level -= units

    def offered(self, start: float, end: float) -> float:
        """Return what came between two times. Units: units."""
        return sum(
            rate * max(0.0, min(until, end) - max(since, start)) for since, until, rate in self._spans()
        )

    def forget(self, now: float) -> None:
        """Lose what was saved, but for one second's worth."""
        self.has(now)
        self.level = min(self.level, self.rate)

    def _spans(self) -> Iterator[tuple[float, float, float]]:
        known = [*self.rates, *self._steps]
        ends = [at for at, _ in known[1:]]
        for (since, rate), until in zip(known, [*ends, float("inf")], strict=True):
            yield since, until, rate

    def _fill(self, now: float) -> None:
        if now > self._at:
            self.level = min(self.level + (now - self._at) * self.rate, self.rate * max(self.keep_s, 1.0))
            self._at = now


class Throughput:
    """What the table, or one index, takes of one operation."""

    def __init__(self, operation: Operation, capacity: Capacity, model: Model, now: float) -> None:
        writes = operation == "Write"
        rate = capacity.write if writes else capacity.read
        maximum = capacity.max_write if writes else capacity.max_read
        self.account = Bucket(model.account_write if writes else model.account_read, now)
        self.provisioned = None if rate is None else Bucket(rate, now, model.burst_s)
        self.maximum = None if maximum is None else Bucket(maximum, now)
        self.partitions = Partitions(
            partition_count(capacity, model),
            model.partition_write if writes else model.partition_read,
            now,
            heat_s=model.heat_s,
            doubling_s=model.doubling_s if rate is None else None,
        )
        self.used: dict[int, float] = {}
        self.throttled: dict[int, float] = {}
        """Units by whole second."""

    def short(self, place: int, units: float, now: float) -> Limit | None:
        """Return what keeps a charge out."""
        limit: Limit | None = None
        if not self.account.has(now):
            limit = "AccountLimitExceeded"
        elif self.provisioned is not None and not self.provisioned.has(now):
            limit = "ProvisionedThroughputExceeded"
        elif self.maximum is not None and not self.maximum.has(now):
            limit = "MaxOnDemandThroughputExceeded"
        elif not self.partitions.has(place, now):
            limit = "KeyRangeThroughputExceeded"
        if limit is not None:
            self.throttled[int(now)] = self.throttled.get(int(now), 0.0) + units
        return limit

    def take(self, place: int, units: float, now: float) -> None:
        """Take a charge that nothing keeps out."""
        self.account.take(units)
        if self.provisioned is not None:
            self.provisioned.take(units)
        if self.maximum is not None:
            self.maximum.take(units)
        self.partitions.take(place, units)
        self.count(units, now)

    def count(self, units: float, now: float) -> None:
        """Count units as used."""
        self.used[int(now)] = self.used.get(int(now), 0.0) + units

    def set(self, operation: Operation, capacity: Capacity, model: Model, now: float, at: float) -> None:
        """Take another capacity from a time on; a change of billing begins anew."""
        fresh = Throughput(operation, capacity, model, at)
        rate = capacity.write if operation == "Write" else capacity.read
        self.maximum = fresh.maximum
        self.partitions.grow_to(len(fresh.partitions), now)
        if rate is None or self.provisioned is None:
            self.provisioned = fresh.provisioned
        else:
            self.provisioned.set_rate(rate, at)

    def forget(self, now: float) -> None:
        """Forget what was counted and saved."""
        self.used.clear()
        self.throttled.clear()
        if self.provisioned is not None:
            self.provisioned.forget(now)

    def offered(self, second: int) -> float:
        """Return what could be used in one second, without what was saved before."""
        offers = [self.account.offered(second, second + 1)]
        if self.provisioned is not None:
            offers.append(self.provisioned.offered(second, second + 1))
        else:
            offers.append(self.partitions.offered(second))
        if self.maximum is not None:
            offers.append(self.maximum.offered(second, second + 1))
        return min(offers)


def admit(
    resources: "Resources", charges: Sequence[Charge], operation: Operation, model: Model, now: float
) -> Shortage | None:
    """Take all charges, or none and say which is short."""
    parts = resources.of(operation)
    if not model.limited:
        for index, _, units in charges:
            parts[index].count(units, now)
        return None
    for index, place, units in charges:
        limit = parts[index].short(place, units, now)
        if limit is not None:
            return Shortage(index, operation, limit)
    for index, place, units in charges:
        parts[index].take(place, units, now)
    return None


@dataclass(slots=True)
class Resources:
    """The throughput of a table and of its indexes, by name."""

    write: dict[str, Throughput]
    read: dict[str, Throughput]

    @classmethod
    def build(cls, capacities: Mapping[str, Capacity], model: Model, now: float) -> "Resources":
        """Return what a new table and its indexes take."""
        return cls(
            {name: Throughput("Write", each, model, now) for name, each in capacities.items()},
            {name: Throughput("Read", each, model, now) for name, each in capacities.items()},
        )

    def set(self, index: str, capacity: Capacity, model: Model, now: float, at: float) -> None:
        """Give the table or an index, new or known, another capacity from a time on."""
        operations: tuple[Operation, Operation] = ("Write", "Read")
        for operation in operations:
            known = self.of(operation).get(index)
            if known is None:
                self.of(operation)[index] = Throughput(operation, capacity, model, now)
            else:
                known.set(operation, capacity, model, now, at)

    def of(self, operation: Operation) -> dict[str, Throughput]:
        """Return those of one operation."""
        return self.write if operation == "Write" else self.read

    def hold(self, size: int, model: Model, now: float) -> None:
        """Split the table's partitions when its data is too much for them. Units: bytes of all items."""
        if size > model.partition_bytes * len(self.write[TABLE].partitions):
            count = ceil(size / model.partition_bytes)
            self.write[TABLE].partitions.grow_to(count, now)
            self.read[TABLE].partitions.grow_to(count, now)

    def forget(self, now: float) -> None:
        """Forget what was counted and saved."""
        for part in (*self.write.values(), *self.read.values()):
            part.forget(now)

    def seconds(self) -> Iterable[int]:
        """Return every second in which something was used or throttled."""
        parts = [*self.write.values(), *self.read.values()]
        return sorted({second for part in parts for second in (*part.used, *part.throttled)})
