"""What the stub saw: every request on items, its writes, when it came, when it was applied, how it ended.

Invariant: times are those of one monotonic clock of this machine, so that other processes' moments fit in.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import orjson


class Write(NamedTuple):
    """One item of a request. `version`: the source row that it was made of; None for a delete."""

    key: str
    version: int | None


@dataclass(slots=True)
class Entry:
    """One request. Units: seconds of the monotonic clock; None: never. `applied`: the writes' places."""

    number: int
    runner: str
    connection: int
    operation: str
    writes: Sequence[Write]
    arrived: float
    fault: str | None = None
    applied_at: float | None = None
    applied: Sequence[int] = ()
    answered: float | None = None
    status: int = 0
    ended: float | None = None
    """When the connection was gone, as far as the stub could see."""


def dump(entries: Iterable[Entry]) -> bytes:
    return orjson.dumps(
        [{**asdict(entry), "writes": [list(write) for write in entry.writes]} for entry in entries]
    )


def load(text: bytes) -> list[Entry]:
    found: list[dict[str, Any]] = orjson.loads(text)
    return [Entry(**{**each, "writes": [Write(*write) for write in each["writes"]]}) for each in found]


class Life(NamedTuple):
    """One write while the server had it. Units: seconds."""

    arrived: float
    applied_at: float
    version: int | None
    entry: Entry


def lives(entries: Iterable[Entry]) -> Mapping[str, Sequence[Life]]:
    """Return the applied writes of each key in the order in which they were applied."""
    found: defaultdict[str, list[Life]] = defaultdict(list)
    for entry in entries:
        if entry.applied_at is None:
            continue
        for place in entry.applied:
            write = entry.writes[place]
            found[write.key].append(Life(entry.arrived, entry.applied_at, write.version, entry))
    for each in found.values():
        each.sort(key=lambda life: life.applied_at)
    return found


def faults_seen(entries: Iterable[Entry]) -> Counter[str]:
    return Counter(entry.fault for entry in entries if entry.fault is not None)


def written(entries: Iterable[Entry]) -> int:
    return sum(len(entry.applied) for entry in entries)


def by_runner(entries: Iterable[Entry]) -> Mapping[str, Sequence[Entry]]:
    """Return each runner's requests, in the order of their coming."""
    found: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: entry.arrived):
        found[entry.runner].append(entry)
    return found
