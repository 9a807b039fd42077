"""All tables, what they are told to take, and one call's circumstances.

Invariant: a table's capacity is changed here only, so that DescribeTable says what is admitted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.simulator.capacity import Charge, Operation, Shortage, admit
from bench.simulator.errors import no_table
from bench.simulator.schema import Key, Schema, table_name
from bench.simulator.settings import TABLE, Billing, Capacity, Model, capacity_of
from bench.simulator.table import Table


@dataclass(slots=True)
class Call:
    """One request's circumstances, and what it did.

    `leave` tells for each item of a batch whether a fault leaves it unprocessed.
    Units: `now` seconds since the simulator started, `wall` since 1970; `consumed` units by table and index.
    """

    now: float
    wall: float
    leave: Callable[[], bool]
    touched: list[tuple[Table, Key]] = field(default_factory=list)
    consumed: dict[str, dict[str, float]] = field(default_factory=dict)

    def consume(self, table: str, charges: list[Charge]) -> None:
        """Add charges to what the answer says."""
        units = self.consumed.setdefault(table, {})
        for index, _, each in charges:
            units[index] = units.get(index, 0.0) + each


class Database:
    """The tables by name."""

    def __init__(self, model: Model, forced: Capacity | None = None) -> None:
        """Set up; `forced` is what every new table takes, whatever its creator asks for."""
        self.model = model
        self.forced = forced
        self.tables: dict[str, Table] = {}
        self.tokens: dict[str, float] = {}
        """When each ClientRequestToken's transaction was done."""

    def table(self, name: Any, *, named: bool = False) -> Table:
        """Return a table.

        Raises: ApiError; its message holds the name if `named`.
        """
        wanted = table_name({"TableName": name})
        table = self.tables.get(wanted)
        if table is None:
            raise no_table(wanted if named else None)
        return table

    def pay(self, table: Table, charges: list[Charge], operation: Operation, call: Call) -> Shortage | None:
        """Take charges from a table's capacity, or say what is short."""
        shortage = admit(table.resources, charges, operation, self.model, call.now)
        if shortage is None:
            call.consume(table.schema.name, charges)
        return shortage

    def set_capacity(self, table: Table, index: str, capacity: Capacity, now: float, at: float) -> None:
        """Give a table, or an index of it, another capacity; DescribeTable tells of it only from now on."""
        if at <= now:
            table.capacities[index] = capacity
        table.resources.set(index, capacity, self.model, now, at)


def capacities_of(schema: Schema, part: Mapping[str, Any], billing: Billing) -> dict[str, Capacity]:
    """Return the capacity of a table and of each of its indexes."""
    indexes = {name: capacity_of(index.definition, billing) for name, index in schema.indexes.items()}
    return {TABLE: capacity_of(part, billing), **indexes}
