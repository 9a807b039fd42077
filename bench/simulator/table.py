"""One table's items, what writing them costs, and the journal of what was written.

Invariant: an item is kept as the JSON text that a read returns; the rest is derived from it when asked.
"""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final, NamedTuple

import orjson

from bench.simulator.capacity import Charge, Resources
from bench.simulator.schema import Entry, IndexSchema, Item, Key, Schema
from bench.simulator.settings import TABLE, Capacity
from connectors.dynamodb.limits import WRITE_UNIT_BYTES

READ_UNIT_BYTES: Final = 4 * 1024
"""What one read unit pays for. Source: Developer Guide, "Read and write capacity units"."""


class Record(NamedTuple):
    """One item: its JSON text, and its size in bytes."""

    text: bytes
    size: int

    def item(self) -> Item:
        """Return the item, parsed anew."""
        item: Item = orjson.loads(self.text)
        return item


@dataclass(frozen=True, slots=True)
class Write:
    """One put or, with `item` None, one delete. Units: `size` bytes of the new item."""

    key: Key
    item: Item | None
    size: int


class Journal:
    """Every write that was applied, in order. Units: `times` seconds since the simulator started."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.times = array("d")
        self.deletes = bytearray()
        self.overlaps = 0
        """Writes of a key while another request with that key had not been answered."""

    def note(self, key: Key, now: float, *, delete: bool) -> None:
        """Add one write."""
        self.keys.append(key)
        self.times.append(now)
        self.deletes.append(delete)

    def clear(self) -> None:
        """Forget all writes."""
        self.keys.clear()
        del self.times[:]
        self.deletes.clear()
        self.overlaps = 0

    def repeats(self) -> Counter[Key]:
        """Return how often each key was written."""
        return Counter(self.keys)


class Table:
    """The items of one table."""

    def __init__(
        self, schema: Schema, capacities: dict[str, Capacity], resources: Resources, settings: dict[str, Any]
    ) -> None:
        self.schema = schema
        self.capacities = capacities
        self.resources = resources
        self.settings = settings
        """What DescribeTable repeats and nothing here heeds."""
        self.items: dict[Key, Record] = {}
        self.size = 0
        self.journal = Journal()
        self.version = 0
        """Counts the writes, whatever the journal forgets."""
        self.in_flight: dict[Key, int] = {}
        """Keys of requests that are not answered yet."""
        self._sorted: list[Key] = []
        self._unsorted: list[Key] = []
        self._deleted: set[Key] = set()
        self._entries: dict[str, tuple[int, list[Entry]]] = {}

    def charges(self, write: Write) -> list[Charge]:
        """Return what a write costs: the larger of the old and the new item, and every index it changes.

        Source: Developer Guide, "DynamoDB item sizes and capacity units consumption", and for indexes
        "Provisioned throughput considerations for global secondary indexes".
        """
        old = self.items.get(write.key)
        size = write.size if old is None else max(old.size, write.size)
        place = write.key[0]
        charges = [Charge(TABLE, place, write_units(size))]
        if not self.schema.indexes:
            return charges
        was = None if old is None else old.item()
        for index in self.schema.indexes.values():
            before = index.entry(was, 0 if old is None else old.size)
            after = index.entry(write.item, write.size)
            charges += [Charge(index.name, place, units) for place, units in _index_units(before, after)]
        return charges

    def apply(self, write: Write, now: float) -> None:
        """Do a write that is paid for."""
        key = write.key
        old = self.items.get(key)
        if old is not None:
            self.size -= old.size
        if write.item is None:
            if self.items.pop(key, None) is not None:
                self._deleted.add(key)
        else:
            # Copied: orjson cuts its result from a large buffer, and the rest of that is lost to the heap.
            self.items[key] = Record(bytes(memoryview(orjson.dumps(write.item))), write.size)
            self.size += write.size
            if key in self._deleted:
                self._deleted.remove(key)
            elif old is None:
                self._unsorted.append(key)
        if key in self.in_flight:
            self.journal.overlaps += 1
        self.version += 1
        self.journal.note(key, now, delete=write.item is None)

    def hold(self, keys: Sequence[Key]) -> None:
        """Note that a request with these keys waits for its answer."""
        for key in keys:
            self.in_flight[key] = self.in_flight.get(key, 0) + 1

    def release(self, keys: Sequence[Key]) -> None:
        """Note that it has got it."""
        for key in keys:
            left = self.in_flight.get(key, 1) - 1
            if left:
                self.in_flight[key] = left
            else:
                self.in_flight.pop(key, None)

    def rows(self, start: Sequence[Any] = (), *, after: bool = False) -> Iterator[Entry]:
        """Give the items in the order of their keys, from a key or its beginning on."""
        keys = self._ordered()
        for number in range(bisect_left(keys, tuple(start)), len(keys)):
            key = keys[number]
            record = self.items.get(key)
            if record is not None and not (after and key == start):
                yield Entry(key, record.item(), record.size)

    def back_from(self, start: Sequence[Any]) -> Iterator[Entry]:
        """Give the items whose keys are lower, the highest first."""
        keys = self._ordered()
        for number in range(bisect_left(keys, tuple(start)) - 1, -1, -1):
            record = self.items.get(keys[number])
            if record is not None:
                yield Entry(keys[number], record.item(), record.size)

    def entries(self, index: IndexSchema) -> list[Entry]:
        """Return an index's entries in the order of their keys, the table's key last in each."""
        known = self._entries.get(index.name)
        if known is None or known[0] != self.version:
            found = []
            for key, record in self.items.items():
                entry = index.entry(record.item(), record.size)
                if entry is not None:
                    found.append(Entry(entry.key + key[1:], entry.item, entry.size))
            found.sort(key=lambda entry: entry.key)
            known = self._entries[index.name] = (self.version, found)
        return known[1]

    def _ordered(self) -> list[Key]:
        if self._deleted and len(self._deleted) > len(self._sorted) // 2:
            self._sorted = [key for key in self._sorted if key not in self._deleted]
            self._unsorted = [key for key in self._unsorted if key not in self._deleted]
            self._deleted.clear()
        if self._unsorted:
            self._sorted = sorted([*self._sorted, *self._unsorted])
            self._unsorted = []
        return self._sorted


def write_units(size: int) -> float:
    """Return what writing an item of this size costs the table."""
    return float(max(1, ceil(size / WRITE_UNIT_BYTES)))


def read_units(size: int, *, consistent: bool) -> float:
    """Return what reading so many bytes costs: half as much where a stale answer will do."""
    units = max(1, ceil(size / READ_UNIT_BYTES))
    return float(units) if consistent else units / 2


def _index_units(before: Entry | None, after: Entry | None) -> Iterator[tuple[int, float]]:
    if before is not None and after is not None and before.key == after.key:
        if before.item != after.item:
            yield after.key[0], write_units(max(before.size, after.size))
        return
    if before is not None:
        yield before.key[0], write_units(before.size)
    if after is not None:
        yield after.key[0], write_units(after.size)
