"""What a load means for a table: how much, how long, for how much money.

Invariant: pure; all that is said of it, in words or JSON, is made of this.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connectors.dynamodb.planning import estimate
from connectors.dynamodb.planning.estimate import Cost, LoadTime, Volume
from connectors.dynamodb.planning.hot_keys import HotKey, HotKeyCounter
from connectors.dynamodb.planning.prices import Prices
from connectors.dynamodb.planning.use import Totals
from connectors.dynamodb.table_info import TableInfo
from engine.contracts.planning import PlanFigures


@dataclass(frozen=True, slots=True)
class PlannedTable:
    """The table of a job, as it is or (not `exists`) as `target.create` makes it, and what the load is by."""

    info: TableInfo
    exists: bool
    mode: str
    max_wcu: float | None
    prices: Prices


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a load means for a table.

    Shape: the times at the present limits, warmed up, and under `max_wcu`; `warmed`: it is or will be so
    anyway. `entries` of each index.
    """

    planned: PlannedTable
    items: float
    entries: Mapping[str, float]
    volume: Volume
    cost: Cost
    now: LoadTime
    warm: LoadTime
    capped: LoadTime | None
    warmed: bool
    hot: Sequence[HotKey]

    @property
    def load_s(self) -> float:
        """How long the load takes, in seconds, as far as the table sets the pace."""
        return self.now.seconds if self.capped is None else max(self.now.seconds, self.capped.seconds)


def forecast(
    planned: PlannedTable,
    figures: PlanFigures,
    totals: Mapping[str, Totals],
    json_bytes: int,
    hot_keys: HotKeyCounter,
) -> Forecast:
    """Say what a load comes to, from what was looked at of it."""
    table, scale = planned.info, figures.scale
    volume = estimate.volume(totals, json_bytes, scale)
    hot = hot_keys.hottest(volume.units)
    now = estimate.time_now(volume, table, hot)
    warmed = table.warm_write is not None and table.warm_write > estimate.ON_DEMAND_WCU_PER_S
    rate = float(table.warm_write if warmed and table.warm_write else estimate.TABLE_QUOTA_WCU_PER_S)
    cap = planned.max_wcu
    return Forecast(
        planned=planned,
        items=figures.writes * scale,
        entries={name: each.entries * scale for name, each in totals.items()},
        volume=volume,
        cost=estimate.cost(volume, table, planned.prices),
        now=now,
        warm=estimate.time_at(volume, table, rate, hot),
        capped=None if cap is None else estimate.time_capped(now, volume, table, cap),
        warmed=warmed,
        hot=hot,
    )
