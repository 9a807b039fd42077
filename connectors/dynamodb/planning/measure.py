"""What writing items would come to: their sizes, their entries in every index, what can't be written.

Invariant: an item counts here exactly if the encoder would send it; equal keys are not coalesced, so that
they can be counted.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from connectors.dynamodb.connector import section_of
from connectors.dynamodb.documents.codec import measured as size_of
from connectors.dynamodb.encoding.keys import key_roles
from connectors.dynamodb.encoding.rule_items import ItemForm, RulePlan, RuleTexts, encode_rule, plan_rule
from connectors.dynamodb.encoding.values import NULL_SIZE, ValueOptions, Values, json_name, wire_values
from connectors.dynamodb.modes import write_mode
from connectors.dynamodb.planning.forecast import PlannedTable, forecast
from connectors.dynamodb.planning.hot_keys import HotKeyCounter
from connectors.dynamodb.planning.use import ABSENT, TABLE, Entries, Sizes, Totals, used
from connectors.dynamodb.planning.words import target_plan
from connectors.dynamodb.table_info import Index
from engine.contracts.planning import Flaw, Measured, TargetPlan
from engine.contracts.transform import ROW, Attribute, RuleItems
from engine.frozen import dataclass
from engine.job.model import Job
from engine.kinds import Members


class TableMeasurer:
    """contracts.Measurer for one table. Hot keys are the sample's: they need rows from all over."""

    def __init__(self, planned: PlannedTable, job: Job, sample: int) -> None:
        table, section = planned.info, section_of(job)
        options = ValueOptions(
            keep_nulls=job.options.nulls == "keep", numbers_as_strings=job.options.numbers == "string"
        )
        self._planned = planned
        self._indexes = table.indexes
        self._layout = ItemForm(
            section.table,
            table.key,
            key_roles(table),
            write_mode(section.mode),
            section.version,
            options,
            table.ttl,
        )
        self._hot_keys = HotKeyCounter(sample)
        self.anew()
        self._sampling = True

    def anew(self) -> None:
        """Begin again with every row of the source."""
        self._totals = {name: Totals() for name in (TABLE, *(index.name for index in self._indexes))}
        self._sampling = False

    def add(self, rows: int, measured: Sequence[Measured]) -> None:
        """Add what every rule made of the next rows."""
        for found in measured:
            for name, entries in used(found).items():
                self._totals[name].add(entries)
        if self._sampling:
            self._hot_keys.add(rows, measured)

    def sums(self) -> str:
        """Return the totals as text."""
        return json.dumps({name: astuple(totals) for name, totals in self._totals.items()})

    def take_in(self, sums: str) -> None:
        """Add the totals of another process."""
        for name, totals in json.loads(sums).items():
            self._totals[name].take_in(Totals(*totals))

    def plan(self, scale: float) -> TargetPlan:
        """Say what the load means."""
        return target_plan(forecast(self._planned, self._totals, scale, self._hot_keys))

    def measure(self, items: RuleItems, *, in_full: bool = True) -> Measured:
        """Measure the items of one rule; without `in_full` only what needs no second look at them."""
        plan = plan_rule(self._layout, items.rule, items.attributes)
        source_rows = items.frame[ROW].to_numpy()
        # Items are known by their place, because several may come from one row.
        places = pl.int_range(len(items.frame), dtype=pl.UInt32, eager=True).alias(ROW)
        texts = encode_rule(plan, replace(items, frame=items.frame.with_columns(places)))
        expired = 0 if texts.expired is None else int(texts.expired.sum())
        texts = texts.without_expired() if self._planned.skips_expired else texts
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
        sizes, entries = self._entries(plan, frame, texts)
        entries[TABLE] = replace(entries[TABLE], expired=expired)
        return replace(found, sizes=sizes, own=entries)

    def _entries(
        self, plan: RulePlan, frame: pl.DataFrame, texts: RuleTexts
    ) -> tuple[Sizes, dict[str, Entries]]:
        options, key = self._layout.options, self._layout.key
        named: dict[str, _Part] = {}
        members: list[tuple[_Part, pl.Series]] = []
        for column, attribute in zip(plan.columns, plan.ordered, strict=True):
            values = wire_values(frame[str(column)], attribute.kind, options)
            part = _part(attribute, values, options)
            if isinstance(attribute.kind, Members):
                members.append((part, values.text))
            else:
                named[attribute.name] = part
        parts = [*named.values(), *(part for part, _ in members)]
        wanted = {name for index in self._indexes for name in _projected(index, key)}
        for _, wires in members:
            named = {**_taken_out(wires, wanted - named.keys()), **named}
        sizes: Sizes = np.sum([part.sizes for part in parts], axis=0, dtype=np.int64)
        alive, json_bytes = ~texts.deletes, sum(part.json_bytes for part in parts)
        entries = {TABLE: Entries(np.where(alive, sizes, ABSENT), texts.units, texts.partition, json_bytes)}
        for index in self._indexes:
            entries[index.name] = _of_index(index, key, named, sizes, alive)
        return sizes, entries


@dataclass(frozen=True, slots=True)
class _Part:
    """One attribute of all items: its bare texts, and what it adds to each item, 0 where it is left out."""

    texts: pl.Series
    sizes: Sizes
    json_bytes: int = 0


def _part(attribute: Attribute, values: Values, options: ValueOptions) -> _Part:
    present = values.text.is_not_null().to_numpy()
    own = values.exact_size.cast(pl.Int64).fill_null(0).to_numpy()
    json_bytes = int(values.text.str.len_bytes().sum() or 0)
    if isinstance(attribute.kind, Members):  # they count their own names
        return _Part(values.bare, np.where(present, own, 0), json_bytes)
    length = len(attribute.name.encode())
    framing = len(json_name(attribute.name)) + len(values.before + values.after) + 2
    absent = length + NULL_SIZE if options.keep_nulls else 0
    sizes = np.where(present, own + length, absent)
    return _Part(values.bare, sizes, json_bytes + framing * int(present.sum()))


def _taken_out(wires: pl.Series, names: set[str]) -> dict[str, _Part]:
    """Take single attributes out of members whose names differ from item to item."""
    if not names:
        return {}
    items = [orjson.loads(f"{{{wire[1:]}}}") if wire else {} for wire in wires]
    found = {}
    for name in names:
        values, length = [item.get(name) for item in items], len(name.encode())
        sizes = [0 if value is None else size_of(value)[0] + length for value in values]
        texts = [None if value is None else str(next(iter(value.values()))) for value in values]
        found[name] = _Part(pl.Series(texts, dtype=pl.String), np.array(sizes, np.int64))
    return found


def _projected(index: Index, key: Sequence[str]) -> set[str]:
    """Return the attributes that an index is asked for by name: its keys, the table's, those included."""
    return {*(attribute.name for attribute in index.keys), *index.projected, *key}


def _of_index(
    index: Index,
    key: Sequence[str],
    named: Mapping[str, _Part],
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
