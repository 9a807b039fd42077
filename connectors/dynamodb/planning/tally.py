"""What a table and its indexes take, added up over the batches of a plan."""

from collections.abc import Sequence

from connectors.dynamodb.planning.forecast import PlannedTable, forecast
from connectors.dynamodb.planning.hot_keys import HotKeyCounter
from connectors.dynamodb.planning.use import TABLE, Totals, use_of
from connectors.dynamodb.planning.words import target_plan
from engine.contracts.planning import Measured, PlanFigures, TargetPlan


class TableTally:
    """contracts.TargetTally for one table. Hot keys are counted while `sampling`, in rows from all over."""

    def __init__(self, planned: PlannedTable, hot_keys: HotKeyCounter, *, sampling: bool = True) -> None:
        self._planned = planned
        self._hot_keys = hot_keys
        self._sampling = sampling
        self._json_bytes = 0
        self._totals = {name: Totals() for name in (TABLE, *(index.name for index in planned.info.indexes))}

    def add(self, rows: int, measured: Sequence[Measured]) -> None:
        """Add what every rule made of the next rows."""
        for found in measured:
            use = use_of(found)
            self._json_bytes += use.json_bytes
            for name, entries in use.entries.items():
                self._totals[name].add(entries)
        if self._sampling:
            self._hot_keys.add(rows, measured)

    def anew(self) -> "TableTally":
        """Begin again with every row; the hot keys are the sample's."""
        return TableTally(self._planned, self._hot_keys, sampling=False)

    def plan(self, figures: PlanFigures) -> TargetPlan:
        """Say what the load means."""
        return target_plan(forecast(self._planned, figures, self._totals, self._json_bytes, self._hot_keys))
