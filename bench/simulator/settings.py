"""What a table is set to take, and the figures of the model. Values only.

Invariant: nothing here changes; a new setting is a new value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final, Literal, TypeAlias

TABLE: Final = ""
"""The name under which a table stands beside its indexes."""
Billing: TypeAlias = Literal["PROVISIONED", "PAY_PER_REQUEST"]
ON_DEMAND_WRITE: Final = 4_000.0
ON_DEMAND_READ: Final = 12_000.0
"""What a new on-demand table takes. Source: Developer Guide, "Understanding DynamoDB warm throughput"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The figures of the model, all of which can be set. Units: seconds, and units per second."""

    burst_s: float = 300.0
    """Unused provisioned capacity is kept so long.

    Source: Developer Guide, "Burst and adaptive capacity": up to 5 minutes (300 seconds).
    """
    account_write: float = 40_000.0
    account_read: float = 40_000.0
    """What one table, or one index, may be asked at all.

    Source: Developer Guide, "Service quotas", "Throughput default quotas": 40,000 a table.
    """
    partition_write: float = 1_000.0
    partition_read: float = 3_000.0
    """Source: Developer Guide, "Best practices for partition keys": 1,000 WCU and 3,000 RCU a partition."""
    doubling_s: float = 1_800.0
    """On-demand capacity follows a peak to its double, at most once in this time.

    Source: Developer Guide, "On-demand capacity mode": throttling can occur above double the previous peak
    within 30 minutes.
    """
    heat_s: float = 300.0
    """A partition that throttles for so long splits, unless a single partition key makes its heat.

    Source: none; the guide says "split for heat" and "sustained", and gives no figure.
    """
    partition_bytes: float = 10.0 * 1024**3
    """A larger partition splits. Source: Developer Guide, "Partitions and data distribution": 10 GB."""
    limited: bool = True
    """False: nothing is ever short."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a table or an index is set to take.

    Units: units per second. `write` and `read` None: on demand. `warm_*` what it takes at once; `max_*` the
    most that on demand may take, None: no such setting.
    """

    write: float | None = None
    read: float | None = None
    warm_write: float = ON_DEMAND_WRITE
    warm_read: float = ON_DEMAND_READ
    max_write: float | None = None
    max_read: float | None = None


def partition_count(capacity: Capacity, model: Model) -> int:
    """Return how many partitions a capacity begins with.

    Source: Developer Guide, "Partitions and data distribution": as many as the settings can be supported by;
    for provisioned tables the sum of what reads and writes need, as the guide's earlier editions computed it.
    """
    if capacity.write is None or capacity.read is None:
        return max(
            1,
            ceil(capacity.warm_write / model.partition_write),
            ceil(capacity.warm_read / model.partition_read),
        )
    return max(1, ceil(capacity.write / model.partition_write + capacity.read / model.partition_read))


def capacity_of(part: Mapping[str, Any], billing: Billing) -> Capacity:
    """Read the capacity of a table or an index out of CreateTable's or DescribeTable's words."""
    warm = part.get("WarmThroughput") or {}
    most = part.get("OnDemandThroughput") or {}
    provisioned = part.get("ProvisionedThroughput") or {}
    fixed = billing == "PROVISIONED"
    return Capacity(
        write=float(provisioned["WriteCapacityUnits"]) if fixed else None,
        read=float(provisioned["ReadCapacityUnits"]) if fixed else None,
        warm_write=float(warm.get("WriteUnitsPerSecond", ON_DEMAND_WRITE)),
        warm_read=float(warm.get("ReadUnitsPerSecond", ON_DEMAND_READ)),
        max_write=_limit(most.get("MaxWriteRequestUnits")),
        max_read=_limit(most.get("MaxReadRequestUnits")),
    )


def _limit(units: Any) -> float | None:
    return float(units) if units is not None and units > 0 else None
