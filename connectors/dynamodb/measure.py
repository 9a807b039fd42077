"""What writing items would come to: their sizes, their entries in every index, what can't be written. Pure.

Invariant: an item counts here exactly if the encoder would send it; equal keys are not coalesced, so that
they can be counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from connectors.dynamodb.connector import section_of
from connectors.dynamodb.encoding.keys import key_roles
from connectors.dynamodb.encoding.order import Hashes
from connectors.dynamodb.encoding.rule_items import Layout, RulePlan, encode_rule, plan_rule
from connectors.dynamodb.encoding.sizes import write_units
from connectors.dynamodb.encoding.values import NULL_SIZE, ValueOptions, Values, json_name, wire_values
from connectors.dynamodb.table_info import Index, TableInfo
from engine.contracts.transform import DELETE, ROW, Attribute, RuleItems
from engine.job.model import Job
from engine.kinds import Members
from engine.wire.fragments import measured

Sizes = npt.NDArray[np.int64]
Rows = npt.NDArray[np.uint32]

ABSENT = -1
"""Size of an item's entry in an index that it isn't in."""


@dataclass(frozen=True, slots=True)
class Entries:
    """The items of one rule as one index holds them. Units: `sizes` in bytes, ABSENT where there is none.

    Shape: `partition` the text of the index's partition key, null where there is none.
    """

    index: str
    sizes: Sizes
    partition: pl.Series


@dataclass(frozen=True, slots=True)
class Flaw:
    """An item that can't be written, and the batch's row that it is of."""

    row: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What the items of one rule in one batch come to.

    Shape: one element per item that would be sent: `rows` of the batch, `sizes` in bytes, `units` of the
    table, key texts and hashes. `json_bytes` is the total as DynamoDB JSON.
    """

    rule: int
    name: str
    emitted: int
    rows: Rows
    sizes: Sizes
    units: npt.NDArray[np.int32]
    deletes: npt.NDArray[np.bool_]
    partition: pl.Series
    sort: pl.Series
    hashes: Hashes
    json_bytes: int
    entries: tuple[Entries, ...]
    skipped: int
    flaws: tuple[Flaw, ...]


class Measurer:
    """Measures the items of a job for one table. Safe to call from several threads."""

    def __init__(self, info: TableInfo, job: Job) -> None:
        options = ValueOptions(
            keep_nulls=job.options.nulls == "keep", numbers_as_strings=job.options.numbers == "string"
        )
        key = tuple(attribute.name for attribute in info.keys)
        self._indexes = info.indexes
        section = section_of(job)
        self._layout = Layout(section.table, key, key_roles(info), section.mode, section.version, options)

    def __call__(self, items: RuleItems, *, in_full: bool = True) -> Measured:
        """Measure the items of one rule; without `in_full` only what needs no second look at them.

        Then `sizes` are empty, and so are the entries. Raises: JobError when the rule doesn't fit the table.
        """
        plan = plan_rule(self._layout, items.rule, items.attributes)
        source_rows = items.frame[ROW].to_numpy()
        # Items are known by their place, because several may come from one row.
        places = pl.int_range(len(items.frame), dtype=pl.UInt32, eager=True).alias(ROW)
        texts = encode_rule(plan, RuleItems(items.rule, items.name, items.attributes,
                                            items.frame.with_columns(places)))  # fmt: skip
        frame = items.frame[texts.rows] if len(texts.rows) < len(items.frame) else items.frame
        found = self._figures(plan, frame) if in_full else _Figures(np.empty(0, np.int64), 0, ())
        return Measured(
            rule=items.rule,
            name=items.name,
            emitted=len(items.frame),
            rows=source_rows[texts.rows],
            sizes=found.sizes,
            units=texts.wcu,
            deletes=texts.deletes,
            partition=texts.partition,
            sort=texts.sort,
            hashes=texts.key_hashes,
            json_bytes=found.json_bytes,
            entries=found.entries,
            skipped=len(texts.skipped),
            flaws=tuple(Flaw(int(source_rows[flawed.row]), *_parted(flawed.flaw)) for flawed in texts.flawed),
        )

    def _figures(self, plan: RulePlan, frame: pl.DataFrame) -> "_Figures":
        options = self._layout.options
        parts = [
            _Part.of(attribute, wire_values(frame[str(column)], attribute.kind, options), options)
            for column, attribute in zip(plan.columns, plan.ordered, strict=True)
        ]
        sizes: Sizes = np.sum([part.sizes for part in parts], axis=0, dtype=np.int64)
        alive = ~frame[DELETE].to_numpy()
        named: dict[str, _Part | _Member] = {part.name: part for part in parts if part.name is not None}
        wanted = {name for index in self._indexes for name in _projected(index, self._layout.key)}
        for part in parts:
            if part.name is None:
                named = {**part.members(wanted - named.keys()), **named}
        entries = tuple(
            _entries(index, self._layout.key, named, sizes, alive) for index in self._indexes
        )  # fmt: skip
        of_key = np.sum([named[name].sizes for name in self._layout.key], axis=0, dtype=np.int64)
        sizes = np.where(alive, sizes, of_key)
        return _Figures(sizes, sum(part.json_bytes for part in parts), entries)


@dataclass(frozen=True, slots=True)
class _Figures:
    sizes: Sizes
    json_bytes: int
    entries: tuple[Entries, ...]


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

    def members(self, names: set[str]) -> "Mapping[str, _Member]":
        """Take single attributes out of members whose names differ from item to item."""
        if not names:
            return {}
        found: dict[str, list[Any]] = {name: [] for name in names}
        for wire in self.values.text:
            item = orjson.loads(f"{{{wire[1:]}}}") if wire else {}
            for name, values in found.items():
                values.append(item.get(name))
        return {name: _Member.of(name, values) for name, values in found.items()}


@dataclass(frozen=True, slots=True)
class _Member:
    """One attribute out of Members; as much of a _Part as an index needs."""

    texts: pl.Series
    sizes: Sizes

    @classmethod
    def of(cls, name: str, values: Sequence[Any]) -> "_Member":
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
    named: Mapping[str, "_Part | _Member"],
    sizes: Sizes,
    alive: npt.NDArray[np.bool_],
) -> Entries:
    """Return what an index holds of the items: nothing of one that lacks a key of the index."""
    inside = alive.copy()
    for attribute in index.keys:
        if attribute.name not in named:
            inside[:] = False
        else:
            inside &= named[attribute.name].texts.is_not_null().to_numpy()
    if index.projection == "ALL":
        own = sizes
    else:
        parts = [named[name].sizes for name in _projected(index, key) if name in named]
        own = np.sum(parts, axis=0, dtype=np.int64)
    partition = named.get(index.keys[0].name)
    texts = pl.repeat(None, len(sizes), dtype=pl.String, eager=True) if partition is None else partition.texts
    frame = pl.DataFrame({"text": texts, "inside": inside})
    return Entries(
        index.name,
        np.where(inside, own, ABSENT),
        frame.select(pl.when("inside").then("text")).to_series(),
    )


def entry_units(sizes: Sizes) -> npt.NDArray[np.int32]:
    """Return the write units that entries of an index cost it, 0 where there is none."""
    return np.where(sizes == ABSENT, np.int32(0), write_units(sizes))


def _parted(flaw: str) -> tuple[str, str]:
    reason, _, detail = flaw.partition(": ")
    return reason, detail
