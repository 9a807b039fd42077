"""From what some items take of a table, to what the whole load means for it: units, time, money.

Invariant: pure; a figure of the whole is one of what was looked at times one scale.
"""

from collections.abc import Mapping, Sequence

from connectors.dynamodb.planning.hot_keys import HotKey, HotKeyCounter
from connectors.dynamodb.planning.prices import Prices, unit_usd
from connectors.dynamodb.planning.use import TABLE, Totals
from connectors.dynamodb.table_info import TableInfo
from engine.frozen import dataclass

ON_DEMAND_WCU_PER_S = 4_000
"""What a new on-demand table or index takes at once. Source: Developer Guide, "Initial throughput"."""
DOUBLING_S = 1_800.0
"""On demand, traffic may double within this time. Source: Developer Guide, "Scaling on-demand mode"."""
TABLE_QUOTA_WCU_PER_S = 40_000
"""Default quota of a table. Source: Developer Guide, "Service quotas"."""
STORED_BYTES_PER_ITEM = 100
"""What storage counts beside each item's own size. Source: Developer Guide, "Storage" of pricing."""
GB = 10**9


@dataclass(frozen=True, slots=True)
class Volume:
    """What the whole load writes.

    Units: write units by index, the table itself under TABLE; bytes.
    """

    units: Mapping[str, float]
    json_bytes: float
    stored_bytes: float

    @property
    def total_units(self) -> float:
        """The units of the table and of every index."""
        return sum(self.units.values())


@dataclass(frozen=True, slots=True)
class LoadTime:
    """How long the load takes at some limits.

    Shape: `bound_by` is the table (TABLE) or an index's name; `key` a partition key of it that alone takes so
    long, None where the whole does. Units: `wcu_per_s` what the table or index takes from the beginning.
    """

    seconds: float
    wcu_per_s: float
    bound_by: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What the load costs in US dollars, by way of paying; `storage_month` afterwards, every month."""

    on_demand: float
    provisioned: float
    s3_import: float
    storage_month: float


@dataclass(frozen=True, slots=True)
class PlannedTable:
    """The table of a job, as it is or (not `exists`) as `target.create` makes it, and what the load is by."""

    info: TableInfo
    exists: bool
    mode: str
    max_wcu: float | None
    prices: Prices
    skips_expired: bool = False


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a load means for a table.

    Shape: the times at the present limits, warmed up, and under `max_wcu`; `warmed`: it is or will be so
    anyway. `writes` in items, of the table and of each index; `expired` the items that the table's time to
    live has expired.
    """

    planned: PlannedTable
    writes: Mapping[str, float]
    volume: Volume
    cost: Cost
    now: LoadTime
    warm: LoadTime
    capped: LoadTime | None
    warmed: bool
    hot: Sequence[HotKey]
    expired: float = 0.0

    @property
    def load_s(self) -> float:
        """How long the load takes, in seconds, as far as the table sets the pace."""
        return self.now.seconds if self.capped is None else max(self.now.seconds, self.capped.seconds)


def forecast(
    planned: PlannedTable, totals: Mapping[str, Totals], scale: float, hot_keys: HotKeyCounter
) -> Forecast:
    """Say what a load comes to, of which each row that was looked at stands for `scale` rows."""
    table, cap = planned.info, planned.max_wcu
    load = volume(totals, scale)
    hot = hot_keys.hottest(load.units)
    now = time_now(load, table, hot)
    warmed = (table.warm_write or 0) > ON_DEMAND_WCU_PER_S
    return Forecast(
        planned=planned,
        writes={name: each.writes * scale for name, each in totals.items()},
        volume=load,
        cost=cost(load, table, planned.prices),
        now=now,
        warm=time_at(load, table, float((warmed and table.warm_write) or TABLE_QUOTA_WCU_PER_S), hot),
        capped=None if cap is None else time_capped(now, load, table, cap),
        warmed=warmed,
        hot=hot,
        expired=totals[TABLE].expired * scale,
    )


def volume(totals: Mapping[str, Totals], scale: float) -> Volume:
    """Scale what was looked at to all rows."""
    stored = sum(each.size_bytes + STORED_BYTES_PER_ITEM * each.entries for each in totals.values())
    units = {name: each.units * scale for name, each in totals.items()}
    return Volume(units, totals[TABLE].json_bytes * scale, stored * scale)


def time_now(volume: Volume, table: TableInfo, hot: Sequence[HotKey]) -> LoadTime:
    """Return the time at the limits that the table and its indexes have at present."""
    drawn = _drawn(volume, table)
    times = []
    for name, units in drawn.items():
        provisioned, warm, most = _limits(table, name)
        if table.billing == "provisioned":
            rate = float(provisioned or 1)
            seconds = units / rate
        else:
            rate = float(min(max(warm or 0, ON_DEMAND_WCU_PER_S), most or TABLE_QUOTA_WCU_PER_S))
            seconds = doubling_s(units, rate, float(most or max(TABLE_QUOTA_WCU_PER_S, rate)))
        times.append(LoadTime(seconds, rate, name))
    return _held_back(max(times, key=lambda time: time.seconds), hot)


def time_at(volume: Volume, table: TableInfo, wcu_per_s: float, hot: Sequence[HotKey]) -> LoadTime:
    """Return the time if the table and each index took this rate from the beginning."""
    drawn = _drawn(volume, table)
    name = max(drawn, key=lambda each: drawn[each])
    return _held_back(LoadTime(drawn[name] / wcu_per_s, wcu_per_s, name), hot)


def time_capped(now: LoadTime, volume: Volume, table: TableInfo, max_wcu: float) -> LoadTime:
    """Return the time under `max_wcu`, which caps what the table itself takes, not its indexes."""
    seconds = _drawn(volume, table)[TABLE] / max_wcu
    return now if now.seconds > seconds else LoadTime(seconds, max_wcu, TABLE)


def _held_back(time: LoadTime, hot: Sequence[HotKey]) -> LoadTime:
    """Return the time, or that of the hottest key if all the writes of that one take longer."""
    hottest = max(hot, key=lambda each: each.least_s, default=None)
    if hottest is None or hottest.least_s <= time.seconds:
        return time
    return LoadTime(hottest.least_s, time.wcu_per_s, hottest.of, hottest.key)


def doubling_s(units: float, start: float, most: float) -> float:
    """Return how long units take where the rate may double every DOUBLING_S, from `start` up to `most`."""
    seconds, rate = 0.0, start
    while rate < most and units > rate * DOUBLING_S:
        units -= rate * DOUBLING_S
        seconds += DOUBLING_S
        rate = min(2 * rate, most)
    return seconds + units / rate


def cost(volume: Volume, table: TableInfo, prices: Prices) -> Cost:
    """Return what the load costs; every replica is written, too."""
    copies = 1 + len(table.replicas)
    units, price = volume.total_units, unit_usd(table, prices)
    return Cost(
        on_demand=units * price["on_demand"],
        provisioned=units * price["provisioned"],
        s3_import=volume.json_bytes / GB * prices.s3_import_gb,
        storage_month=volume.stored_bytes * copies / GB * prices.storage_gb_month,
    )


def _drawn(volume: Volume, table: TableInfo) -> dict[str, float]:
    """Return the units by whose capacity they are: a local index draws on its table's."""
    local = {index.name for index in table.indexes if index.local}
    drawn = {TABLE: 0.0}
    for name, units in volume.units.items():
        owner = TABLE if name in local else name
        drawn[owner] = drawn.get(owner, 0.0) + units
    return drawn


def _limits(table: TableInfo, name: str) -> tuple[int | None, int | None, int | None]:
    """Return provisioned capacity, warm throughput and on-demand maximum of the table or an index."""
    if name == TABLE:
        return table.write_capacity, table.warm_write, table.on_demand_write_max
    index = next(each for each in table.indexes if each.name == name)
    return index.write_capacity, index.warm_write, index.on_demand_write_max
