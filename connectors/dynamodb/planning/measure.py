"""What writing items would come to: their sizes, their entries in every index, what can't be written. Pure.

Invariant: an item counts here exactly if the encoder would send it; equal keys are not coalesced, so that
they can be counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from connectors.dynamodb.connector import section_of
from connectors.dynamodb.documents.attribute_values import measured
from connectors.dynamodb.encoding.keys import key_roles
from connectors.dynamodb.encoding.rule_items import Layout, RulePlan, RuleTexts, encode_rule, plan_rule
from connectors.dynamodb.encoding.values import NULL_SIZE, ValueOptions, Values, json_name, wire_values
from connectors.dynamodb.modes import write_mode
from connectors.dynamodb.planning.forecast import PlannedTable
from connectors.dynamodb.planning.hot_keys import HotKeyCounter
from connectors.dynamodb.planning.tally import TableTally
from connectors.dynamodb.planning.use import ABSENT, TABLE, Entries, Sizes, TableUse
from connectors.dynamodb.table_info import Index
from engine.contracts.planning import Flaw, Measured
from engine.contracts.transform import ROW, Attribute, RuleItems
from engine.job.model import Job
from engine.kinds import Members

SIZE_BOUNDS = (256, 512, 1_024, 2_048, 4_096, 16_384, 65_536, 409_600)
"""Most steps are where an item costs one unit more; the last is the most that there is."""


class TableMeasurer:
    """contracts.Measurer for one table."""

    size_bounds = SIZE_BOUNDS

    def __init__(self, planned: PlannedTable, job: Job) -> None:
        table, section = planned.info, section_of(job)
        options = ValueOptions(
            keep_nulls=job.options.nulls == "keep", numbers_as_strings=job.options.numbers == "string"
        )
        self._planned = planned
        self._indexes = table.indexes
        self._layout = Layout(
            section.table, table.key, key_roles(table), write_mode(section.mode), section.version, options
        )

    def tally(self, rows: int) -> TableTally:
        """Begin to add up a sample."""
        return TableTally(self._planned, HotKeyCounter(rows))

    def measure(self, items: RuleItems, *, in_full: bool = True) -> Measured:
        """Measure the items of one rule; without `in_full` only what needs no second look at them."""
        plan = plan_rule(self._layout, items.rule, items.attributes)
        source_rows = items.frame[ROW].to_numpy()
        # Items are known by their place, because several may come from one row.
        places = pl.int_range(len(items.frame), dtype=pl.UInt32, eager=True).alias(ROW)
        texts = encode_rule(plan, replace(items, frame=items.frame.with_columns(places)))
        flaws = ((int(source_rows[each.row]), each.flaw.partition(": ")) for each in texts.flawed)
        found = Measured(
            rule=items.name,
            rows=source_rows[texts.rows],
            deletes=texts.deletes,
            key=(texts.partition, texts.sort)[: len(self._layout.key)],
            skipped=len(texts.skipped),
            flaws=tuple(Flaw(row, reason, detail) for row, (reason, _, detail) in flaws),
        )
        if not in_full:
            return found
        frame = items.frame[texts.rows] if len(texts.rows) < len(items.frame) else items.frame
        sizes, use = self._use(plan, frame, texts)
        return replace(found, sizes=sizes, own=use)

    def _use(self, plan: RulePlan, frame: pl.DataFrame, texts: RuleTexts) -> tuple[Sizes, TableUse]:
        options, key = self._layout.options, self._layout.key
        parts = [
            _Part.of(attribute, wire_values(frame[str(column)], attribute.kind, options), options)
            for column, attribute in zip(plan.columns, plan.ordered, strict=True)
        ]
        named: dict[str, _Part | _Named] = {part.name: part for part in parts if part.name is not None}
        wanted = {name for index in self._indexes for name in _projected(index, key)}
        for part in parts:
            if part.name is None:
                named = {**part.members(wanted - named.keys()), **named}
        sizes: Sizes = np.sum([part.sizes for part in parts], axis=0, dtype=np.int64)
        alive = ~texts.deletes
        entries = {TABLE: Entries(np.where(alive, sizes, ABSENT), texts.wcu, texts.partition)}
        for index in self._indexes:
            entries[index.name] = _entries(index, key, named, sizes, alive)
        return sizes, TableUse(entries, sum(part.json_bytes for part in parts))


@dataclass(frozen=True, slots=True)
class _Part:
    """One attribute of all items: what it adds to each, 0 where it is left out. `name` None: Members."""

    name: str | None
    values: Values
    sizes: Sizes
    json_bytes: int

    @classmethod
    def of(cls, attribute: Attribute, values: Values, options: ValueOptions) -> "_Part":
        is_members = isinstance(attribute.kind, Members)
        name_size = 0 if is_members else len(attribute.name.encode())
        present = values.text.is_not_null().to_numpy()
        own = values.exact_size.cast(pl.Int64).fill_null(0).to_numpy() + name_size
        absent = name_size + NULL_SIZE if options.keep_nulls and not is_members else 0
        framing = 0 if is_members else len(json_name(attribute.name)) + len(values.before + values.after) + 2
        json_bytes = int(values.text.str.len_bytes().sum() or 0) + framing * int(present.sum())
        return cls(None if is_members else attribute.name, values, np.where(present, own, absent), json_bytes)

    @property
    def texts(self) -> pl.Series:
        """The bare text of each value."""
        return self.values.bare

    def members(self, names: set[str]) -> "Mapping[str, _Named]":
        """Take single attributes out of members whose names differ from item to item."""
        if not names:
            return {}
        found: dict[str, list[Any]] = {name: [] for name in names}
        for wire in self.values.text:
            item = orjson.loads(f"{{{wire[1:]}}}") if wire else {}
            for name, values in found.items():
                values.append(item.get(name))
        return {name: _Named.of(name, values) for name, values in found.items()}


@dataclass(frozen=True, slots=True)
class _Named:
    """One attribute out of Members; as much of a _Part as an index needs."""

    texts: pl.Series
    sizes: Sizes

    @classmethod
    def of(cls, name: str, values: Sequence[Any]) -> "_Named":
        length = len(name.encode())
        sizes = [0 if value is None else measured(value)[0] + length for value in values]
        texts = [None if value is None else str(next(iter(value.values()))) for value in values]
        return cls(pl.Series(texts, dtype=pl.String), np.array(sizes, np.int64))


def _projected(index: Index, key: Sequence[str]) -> set[str]:
    """Return the attributes that an index is asked for by name: its keys, the table's, those included."""
    return {*(attribute.name for attribute in index.keys), *index.projected, *key}


def _entries(
    index: Index,
    key: Sequence[str],
    named: Mapping[str, "_Part | _Named"],
    sizes: Sizes,
    alive: npt.NDArray[np.bool_],
) -> Entries:
    """Return what an index holds of the items: nothing of one that lacks a key of the index."""
    inside = alive.copy()
    for attribute in index.keys:
        if attribute.name not in named:
            return Entries.of_index(sizes, np.zeros_like(alive), pl.repeat("", len(sizes), eager=True))
        inside &= named[attribute.name].texts.is_not_null().to_numpy()
    if index.projection != "ALL":
        parts = [named[name].sizes for name in _projected(index, key) if name in named]
        sizes = np.sum(parts, axis=0, dtype=np.int64)
    return Entries.of_index(sizes, inside, named[index.keys[0].name].texts)
