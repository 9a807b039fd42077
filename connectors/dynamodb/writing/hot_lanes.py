"""Lanes for hot partition keys: their items wait here, and ride along as fast as their partition takes them.

Invariant: an item that is in a lane is nowhere else; the lanes are few.
"""

from collections import deque
from dataclasses import field

from connectors.dynamodb.limits import PARTITION_WCU_PER_S
from connectors.dynamodb.writing.decisions import LaneGiven, LaneTaken
from connectors.dynamodb.writing.open_batch import OpenBatch
from connectors.dynamodb.writing.packing import Packing
from connectors.dynamodb.writing.requests import ItemSpan, LaneShare
from engine.frozen import dataclass
from engine.tenure import NEVER
from engine.throttle.decisions import Tell
from engine.throttle.pace import Pace

LANES_MAX = 64
"""More hot keys than this are not the exception that lanes are for: then the whole table slows down."""

LANE_ITEMS = 25
"""How many items of a hot key gather before they go, so that they don't go one by one."""

LANE_PLATEAU_S = 2.0
"""A lane's capacity is what others leave of its partition: it moves faster than a table's."""

LANE_IDLE_S = 2.0
"""How long a hot key's pace is remembered when nothing of it waits any more."""


@dataclass(eq=False, slots=True)
class Lane:
    """A hot partition key's items, and how fast its partition takes them."""

    pace: Pace
    spans: deque[ItemSpan] = field(default_factory=deque)
    not_before: float = 0.0
    used_at: float = 0.0

    def ready_at(self, now: float) -> float:
        """Return when a request's worth of what waits may go; NEVER when nothing waits."""
        if not self.spans:
            return NEVER
        first = self.spans[0]
        units = first.one(first.start).units * min(len(self.spans), LANE_ITEMS)
        return max(self.not_before, now + self.pace.wait_s(units, now))

    def ride_along(self, packing: Packing, now: float) -> tuple[int, int]:
        """Put into a request what the pace allows; return how many units that are, and their epoch."""
        units = epoch = 0
        ready = self.ready_at(now) <= now
        while ready and self.spans and packing.room:
            span = self.spans.popleft()
            if span.batch.abandoned:
                continue
            first = span.one(span.start)
            ready = self.pace.wait_s(first.units, now) == 0.0
            if not ready or packing.clashes(first) or packing.add(first) is not None:
                self.spans.appendleft(span)
                break
            if span.stop > first.stop:
                self.spans.appendleft(span._replace(start=first.stop))
            epoch = self.pace.take(first.units, now)
            units += first.units
            self.used_at = now
        return units, epoch


class HotLanes:
    """The lanes that there are, by partition key hash."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.by_key: dict[int, Lane] = {}

    def give(self, partition: int, now: float) -> None:
        """Give a hot partition key a lane of its own, while there are few."""
        if partition not in self.by_key and len(self.by_key) < LANES_MAX:
            pace = Pace(now, PARTITION_WCU_PER_S, LANE_PLATEAU_S)
            pace.cap(PARTITION_WCU_PER_S, now)
            self.by_key[partition] = Lane(pace, used_at=now)
            self._tell(LaneGiven(partition))

    def clear(self) -> None:
        """Forget everything that waits."""
        self.by_key.clear()

    def next_at(self, now: float) -> float:
        """Return when the next lane will be ready; NEVER when nothing waits."""
        return min((lane.ready_at(now) for lane in self.by_key.values()), default=NEVER)

    def ride_along(self, packing: Packing, now: float) -> tuple[LaneShare, ...]:
        """Put into a request what every lane's pace allows, and say whose that is; end lanes that idle."""
        shares = []
        for partition, lane in list(self.by_key.items()):
            units, epoch = lane.ride_along(packing, now)
            if units:
                shares.append(LaneShare(partition, lane.pace, epoch, units))
            elif not lane.spans and now - lane.used_at > LANE_IDLE_S:
                del self.by_key[partition]
                self._tell(LaneTaken(partition))
        return tuple(shares)

    def take_in(self, span: ItemSpan) -> bool:
        """Have an item wait in its key's lane, if that has one."""
        lane = self.by_key.get(span.partition)
        if lane is not None:
            lane.spans.append(span)
        return lane is not None

    def take_back(self, item: ItemSpan, not_before: float) -> bool:
        """Have a rejected item wait at the head of its key's lane, if that has one."""
        lane = self.by_key.get(item.partition)
        if lane is not None:
            lane.spans.appendleft(item)
            lane.not_before = not_before
        return lane is not None

    def cool_until(self, batch: OpenBatch, stop: int) -> int:
        """Return the end of the fresh items of a batch, at most `stop`, that aren't hot."""
        if self.by_key:
            for index, partition in enumerate(batch.partitions(batch.next, stop), batch.next):
                if partition in self.by_key:
                    return index
        return stop

    def divert(self, batch: OpenBatch, stop: int) -> None:
        """Move the hot items that are next in a batch into their lanes."""
        while batch.next < stop and self.take_in(ItemSpan(batch, batch.next, batch.next + 1)):
            batch.next += 1
