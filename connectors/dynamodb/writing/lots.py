"""Which items go into the next request. Pure: every call is told the time.

Fresh items go in the order of their batch, which is that of its rows wherever a batch takes longer than a
moment (see stride.py); leftovers of several batches are packed together, the earliest rows first, and filled
up with fresh ones. The items of a hot partition key wait in a lane of their own, with its own pace, and ride
along as that allows.

Invariant: every item of a load is in exactly one place: fresh, waiting to be sent again, in a lane, in a lot
on its way, or settled. No two items of a lot have the same key.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from math import ceil

from connectors.dynamodb.limits import PARTITION_WCU_PER_S
from connectors.dynamodb.writing.loads import NEVER, Lane, Load, Lot, Run, Share
from connectors.dynamodb.writing.packing import Packing, fit
from connectors.dynamodb.writing.stride import ITEMS_START, STRIDE_S
from engine.throttle.pace import Pace

LANES_MAX = 64
"""More hot keys than this are not the exception that lanes are for: then the whole table slows down."""

GATHER_S = 0.05
"""Leftovers ripen in steps of this, so that they meet and fill requests."""

LANE_PLATEAU_S = 2.0
"""A lane's capacity is what others leave of its partition: it moves faster than a table's."""

LANE_IDLE_S = 2.0
"""How long a hot key's pace is remembered when nothing of it waits any more."""


class Queue:
    """All that waits to be sent.

    Ordering: halves of a refused request first, then hot keys as far as their pace allows, then what is to be
    sent again, then fresh items, one segment after another in turn and each segment's batches in their order.
    """

    def __init__(self, items_max: int, bytes_max: int) -> None:
        self._items_max = items_max
        self._bytes_max = bytes_max
        self._exact: deque[Lot] = deque()
        self._again: list[tuple[int, int, int, Run]] = []
        """Ripe, as a heap: the earliest batch and row first, for what others' acks wait for."""
        self._later: list[tuple[float, int, Run]] = []
        self._numbers = 0
        self._fresh: dict[int, deque[Load]] = {}
        self._turns: deque[int] = deque()
        self.lanes: dict[int, Lane] = {}
        self._stride_items = float(ITEMS_START)
        self._units_per_s = NEVER
        self._draining = False

    def add(self, load: Load) -> None:
        """Take in a batch."""
        if self._draining:
            load.finish_rows()
            return
        segment = load.encoded.batch.segment
        if segment not in self._fresh:
            self._fresh[segment] = deque()
            self._turns.append(segment)
            self._group(load)
        self._fresh[segment].append(load)

    def again(self, runs: Iterable[Run], at: float) -> None:
        """Send these again, not before `at`, and together with what else ripens then."""
        at = ceil(at / GATHER_S) * GATHER_S
        for run in runs:
            self._numbers += 1
            heapq.heappush(self._later, (at, self._numbers, run))

    def stride(self, items: float, units_per_s: float) -> None:
        """Begin about so many items together, and at most STRIDE_S of work at this rate; see stride.py."""
        self._stride_items, self._units_per_s = max(items, 1.0), units_per_s
        for loads in self._fresh.values():
            self._group(loads[0])

    def drain(self) -> None:
        """Begin no row any more, and send only what settled rows wait for."""
        self._draining = True
        self._turns.clear()
        for loads in self._fresh.values():
            for load in loads:
                load.finish_rows()

    def exactly(self, lots: Iterable[Lot]) -> None:
        """Send these next, each as it is."""
        self._exact.extend(lots)

    def park(self, partition: int, now: float) -> None:
        """Give a hot partition key a lane of its own, while there are few."""
        if partition not in self.lanes and len(self.lanes) < LANES_MAX:
            pace = Pace(now, PARTITION_WCU_PER_S, LANE_PLATEAU_S)
            pace.cap(PARTITION_WCU_PER_S, now)
            self.lanes[partition] = Lane(pace, used_at=now)

    def clear(self) -> None:
        """Forget everything that waits."""
        for waiting in (self._exact, self._again, self._later, self._fresh, self._turns, self.lanes):
            waiting.clear()

    def next_at(self, now: float) -> float:
        """Return when something will be ready that isn't; NEVER when nothing waits for its time."""
        lanes = min((lane.ready_at(now) for lane in self.lanes.values()), default=NEVER)
        return min(lanes, self._later[0][0] if self._later else NEVER)

    def take(self, now: float, units_max: float) -> Lot | None:
        """Return the next lot, or None when nothing is ready.

        Units: `units_max` write units, exceeded only by a single item that is larger.
        """
        if self._exact:
            return self._exact.popleft()
        while self._later and self._later[0][0] <= now:
            self._ripen(heapq.heappop(self._later)[2])
        if self._again or self.lanes:
            return self._pack(now, units_max)
        load = self._next_load()
        if load is None:
            return None
        stop = fit(load, load.next, load.stop, self._items_max, self._bytes_max, units_max)
        run = Run(load, load.next, max(stop, load.next + 1))
        load.next = run.stop
        self._turns.rotate(-1)
        return Lot([run], run.stop - run.start, run.units)

    def _pack(self, now: float, units_max: float) -> Lot | None:
        """Make a lot out of whatever is ready, item keys being told apart."""
        packing = Packing(self._items_max, self._bytes_max, units_max)
        shares = self._ride_along(packing, now)
        held_back: list[Run] = []
        while self._again and packing.room:
            if (load := self._earlier()) is not None:
                if not self._begin(packing, load, 1):
                    break
                continue
            run = heapq.heappop(self._again)[3]
            if run.load.abandoned:
                continue
            if (lane := self._lane_of(run)) is not None:
                lane.runs.append(run)
            elif packing.clashes(run) or (self._draining and run.load.beyond(run.start)):
                held_back.append(run)
            elif (rest := packing.add(run)) is not None:
                self._ripen(rest)
                break
        for run in held_back:
            self._ripen(run)
        while packing.room and (load := self._next_load()) is not None:
            if not self._begin(packing, load, self._items_max):
                break
            self._turns.rotate(-1)
        if not packing.runs:
            return None
        again = any(run.attempts for run in packing.runs)
        return Lot(packing.runs, packing.items, packing.units, tuple(shares), again=again)

    @property
    def _backlogged(self) -> bool:
        """Whether what was rejected is a stride of work already, so that its order matters."""
        return len(self._again) + len(self._later) > self._stride_items

    def _earlier(self) -> Load | None:
        """Return the load whose next item lies before all that is ripe to be sent again in its segment."""
        if not self._backlogged:
            return None
        sequence, row, _, run = self._again[0]
        loads = self._fresh.get(run.load.encoded.batch.segment)
        load = loads[0] if loads else None
        if load is None or load.next >= load.stop or load.abandoned:
            return None
        return load if (load.encoded.batch.sequence, load.row(load.next)) < (sequence, row) else None

    def _begin(self, packing: Packing, load: Load, items_max: int) -> bool:
        """Put the next items of a load into a lot, but for hot ones; say whether the lot may take more."""
        run = Run(load, load.next, min(self._cool_until(load), load.next + items_max))
        if run.start == run.stop:
            self._divert(load)
            return True
        if packing.clashes(run):
            return False
        rest = packing.add(run)
        load.next = run.stop if rest is None else rest.start
        return load.next > run.start

    def _ride_along(self, packing: Packing, now: float) -> list[Share]:
        """Take of every lane what its pace allows."""
        shares: list[Share] = []
        for partition, lane in list(self.lanes.items()):
            units = 0
            epoch = 0
            ready = lane.ready_at(now) <= now
            while ready and lane.runs and packing.room:
                run = lane.runs.popleft()
                if run.load.abandoned:
                    continue
                first = run.one(run.start)
                ready = lane.pace.wait_s(first.units, now) == 0.0
                if not ready or packing.clashes(first) or packing.add(first) is not None:
                    lane.runs.appendleft(run)
                    break
                if run.stop > first.stop:
                    lane.runs.appendleft(run._replace(start=first.stop))
                epoch = lane.pace.take(first.units, now)
                units += first.units
                lane.used_at = now
            if units:
                shares.append(Share(partition, lane, epoch, units))
            elif not lane.runs and now - lane.used_at > LANE_IDLE_S:
                del self.lanes[partition]
        return shares

    def _cool_until(self, load: Load) -> int:
        """Return the end of the fresh items from `load.next` on that may go into one lot and aren't hot."""
        stop = min(load.next + self._items_max, load.stop)
        if self.lanes:
            for index, partition in enumerate(load.partitions(load.next, stop), load.next):
                if partition in self.lanes:
                    return index
        return stop

    def _divert(self, load: Load) -> None:
        """Move the hot items that are next into their lanes, up to a request's worth."""
        stop = min(load.next + self._items_max, load.stop)
        for partition in load.partitions(load.next, stop):
            lane = self.lanes.get(partition)
            if lane is None:
                return
            lane.runs.append(Run(load, load.next, load.next + 1))
            load.next += 1

    def _lane_of(self, run: Run) -> Lane | None:
        """Return the lane of a run of a single item; longer runs are told apart only when they come back."""
        return self.lanes.get(run.partition) if self.lanes else None

    def _next_load(self) -> Load | None:
        """Return the load whose turn it is to give fresh items."""
        while self._turns:
            segment = self._turns[0]
            loads = self._fresh[segment]
            if loads[0].next < loads[0].stop and not loads[0].abandoned:
                return loads[0]
            loads.popleft()
            if loads:
                self._group(loads[0])
            if not loads:
                del self._fresh[segment]
                self._turns.popleft()
        return self._unfinished() if self._draining else None

    def _unfinished(self) -> Load | None:
        """Return a load that has items left in rows that settled ones wait for."""
        for loads in self._fresh.values():
            for load in loads:
                if load.next < load.stop and not load.abandoned and not load.beyond(load.next):
                    return load
        return None

    def _group(self, load: Load) -> None:
        """Have a load begin no more items together than its segment's share of the stride."""
        if not self._draining:
            in_pace = self._units_per_s * STRIDE_S * load.items / load.units[-1]
            load.group(min(self._stride_items, in_pace) / len(self._turns))

    def _ripen(self, run: Run) -> None:
        """Have a run wait for the next lot."""
        self._numbers += 1
        place = (run.load.encoded.batch.sequence, run.load.row(run.start), self._numbers, run)
        heapq.heappush(self._again, place)
