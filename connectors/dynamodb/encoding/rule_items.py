"""The items of one rule in one batch: what passes every limit as wire text, the rest with their flaws. Pure.

Invariant: an item is in exactly one of `text`, `flawed` and `skipped`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.dynamodb.encoding import wire
from connectors.dynamodb.encoding.expired import left_to_expire
from connectors.dynamodb.encoding.keys import KeyRole, check_key_kind, key_flaws
from connectors.dynamodb.encoding.order import Hashes, key_hashes
from connectors.dynamodb.encoding.sizes import Sized, item_sizes, write_units
from connectors.dynamodb.encoding.values import (
    NULL_WIRE,
    ValueOptions,
    Values,
    json_name,
    placed,
    wire_values,
)
from connectors.dynamodb.encoding.versions import check_version, version_flaws
from connectors.dynamodb.expiry import TimeToLive
from connectors.dynamodb.limits import (
    ATTRIBUTE_NAME_BYTES_MAX,
    ITEM_BYTES_MAX,
    NESTING_LEVELS_MAX,
    STATEMENT_LENGTH_MAX,
)
from connectors.dynamodb.modes import WriteMode
from engine.batch import NO_ROWS
from engine.contracts.documents import AS_TEXT
from engine.contracts.transform import DELETE, FLAW, ROW, Attribute, RuleItems
from engine.errors import JobError
from engine.frozen import dataclass
from engine.kinds import ListOf, Members, StructOf

_STATEMENT_PER_NAME = len("'':?,")
_ITEM_JSON_LENGTH_MAX = 4 * ITEM_BYTES_MAX
"""Characters of an item that a dead letter still carries: well over any item that could be mended."""


@dataclass(frozen=True, slots=True)
class ItemForm:
    """What all items of this target share. Shape: `roles` by attribute name; `skips`: by what they expire."""

    table: str
    key: tuple[str, ...]
    roles: Mapping[str, tuple[KeyRole, ...]]
    mode: WriteMode
    version: str | None
    options: ValueOptions
    skips: TimeToLive | None = None


@dataclass(frozen=True, slots=True)
class RulePlan:
    """One rule's attributes, checked once. Shape: `columns` their places in the frame, the key's first."""

    layout: ItemForm
    attributes: tuple[Attribute, ...]
    columns: tuple[int, ...]
    long_statement: bool

    @property
    def ordered(self) -> list[Attribute]:
        """The attributes as `columns` orders them."""
        return [self.attributes[column] for column in self.columns]


@dataclass(frozen=True, slots=True)
class RuleTexts:
    """The wire texts of one rule's good items with what goes with each, and what became of the others.

    Shape: `version` is what `newer` compares, as wire text; the empty text in other modes. `skipped` the
    source rows of items that the mode leaves out. `expired` true where the item is to be left out, but only
    once it is known whether it stands for its key; None: nowhere.
    """

    text: pl.Series
    partition: pl.Series
    sort: pl.Series
    version: pl.Series
    key_hashes: Hashes
    partition_hashes: Hashes
    units: npt.NDArray[np.int32]
    deletes: npt.NDArray[np.bool_]
    rows: npt.NDArray[np.uint32]
    skipped: npt.NDArray[np.uint32]
    flawed: tuple["Flawed", ...]
    expired: npt.NDArray[np.bool_] | None = None

    def without_expired(self) -> "RuleTexts":
        """Return the texts of the items that are left, as if no two had one key."""
        if self.expired is None or not self.expired.any():
            return self
        left, mask = ~self.expired, pl.Series(~self.expired)
        return RuleTexts(
            self.text.filter(mask),
            self.partition.filter(mask),
            self.sort.filter(mask),
            self.version.filter(mask),
            self.key_hashes[left],
            self.partition_hashes[left],
            self.units[left],
            self.deletes[left],
            self.rows[left],
            np.concatenate((self.skipped, self.rows[self.expired])),
            self.flawed,
        )


@dataclass(frozen=True, slots=True)
class Flawed:
    """An item that can't be written: its source row in the batch, why, and the item as far as it goes."""

    row: int
    flaw: str
    item_json: str | None


def plan_rule(layout: ItemForm, rule: int, attributes: tuple[Attribute, ...]) -> RulePlan:
    """Check what can be checked without values. Raises: JobError that names the rule by its number."""
    positions = {attribute.name: position for position, attribute in enumerate(attributes)}
    assert len(positions) == len(attributes), f"rule {rule} has an attribute twice"
    for name in layout.key:
        if name not in positions:
            raise JobError(f"items[{rule}].key: {layout.table} has {name} in its key; add it")
    for name, position in positions.items():
        if isinstance(attributes[position].kind, Members):
            continue
        if not 0 < len(name.encode()) <= ATTRIBUTE_NAME_BYTES_MAX:
            raise JobError(
                f"items[{rule}]: an attribute's name must have 1 to {ATTRIBUTE_NAME_BYTES_MAX} bytes, not"
                f" {len(name.encode())}; rename {name[:40]!r}"
            )
        check_key_kind(rule, attributes[position], layout.roles.get(name, ()))
    if layout.mode.compares:
        check_version(layout.version, rule, attributes)
    key = [positions[name] for name in layout.key]
    rest = [position for position in range(len(attributes)) if position not in key]
    length = sum(len(name) + name.count("'") + _STATEMENT_PER_NAME for name in positions)
    long_statement = len(f'INSERT INTO "{layout.table}" VALUE {{}}') + length > STATEMENT_LENGTH_MAX
    long_statement |= any(isinstance(attribute.kind, Members) for attribute in attributes)
    return RulePlan(layout, attributes, (*key, *rest), long_statement)


def encode_rule(plan: RulePlan, items: RuleItems, old: int = 0) -> RuleTexts:
    """Turn the items of one rule into wire texts. `old`: so many rows of the batch are rows as they were."""
    layout, frame = plan.layout, items.frame
    skipped = NO_ROWS
    if layout.mode.delete is None and frame[DELETE].any():
        skipped = frame.filter(pl.col(DELETE))[ROW].to_numpy()
        frame = frame.filter(~pl.col(DELETE))
    ordered = plan.ordered
    values = [
        wire_values(frame[str(column)], attribute.kind, layout.options)
        for column, attribute in zip(plan.columns, ordered, strict=True)
    ]
    sizes = item_sizes(
        [_sized(attribute, value, layout.options) for attribute, value in zip(ordered, values, strict=True)]
    )
    texts = pl.DataFrame({str(position): value.text for position, value in enumerate(values)})
    described = _described(layout, ordered, values)
    if layout.mode.statements:
        texts = texts.with_columns(
            column for member in described.members if member.spread for column in wire.apart(member, texts)
        )
    flaws = _flaws(plan, frame, values, sizes, texts, described)
    flawed = tuple(
        Flawed(frame[ROW][row], flaw, _item_json(layout, ordered, values, row, deleted=frame[DELETE][row]))
        for row, flaw in sorted(flaws.items())
    )
    deletes = frame[DELETE].to_numpy()
    rows = frame[ROW].to_numpy()
    partition = values[0].bare
    sort = values[1].bare if len(layout.key) > 1 else None
    version = _versions(layout, ordered, values)
    expired = None if layout.skips is None else left_to_expire(layout.skips, ordered, values) & ~deletes
    if flaws:
        keep = np.ones(len(frame), np.bool_)
        keep[list(flaws)] = False
        mask = pl.Series(keep)
        texts, partition = texts.filter(mask), partition.filter(mask)
        sort = None if sort is None else sort.filter(mask)
        version = version.filter(mask)
        sizes, deletes, rows = sizes[keep], deletes[keep], rows[keep]
        expired = None if expired is None else expired[keep]
    hashes, partition_hashes = key_hashes(partition, sort)
    return RuleTexts(
        _texts(layout, described, texts, deletes, rows < old),
        partition,
        _empty_texts(len(partition)) if sort is None else sort,
        version,
        hashes,
        partition_hashes,
        np.where(deletes, np.int32(1), write_units(sizes)),
        deletes,
        rows,
        skipped,
        flawed,
        expired,
    )


def _versions(layout: ItemForm, attributes: Sequence[Attribute], values: Sequence[Values]) -> pl.Series:
    """Return what `newer` compares of each item."""
    if not layout.mode.compares:
        return _empty_texts(len(values[0].text))
    return next(
        value.wire
        for attribute, value in zip(attributes, values, strict=True)
        if attribute.name == layout.version
    )


def _empty_texts(count: int) -> pl.Series:
    return pl.Series([""]).new_from_index(0, count)


def _sized(attribute: Attribute, values: Values, options: ValueOptions) -> Sized:
    if isinstance(attribute.kind, Members):  # they count their own names
        return Sized(0, values, keep_null=False)
    return Sized(len(attribute.name.encode()), values, options.keep_nulls)


def _described(layout: ItemForm, attributes: Sequence[Attribute], values: Sequence[Values]) -> wire.Items:
    members = [
        wire.Member(
            attribute.name,
            str(position),
            value.before,
            value.after,
            nullable=position >= len(layout.key) and value.text.null_count() > 0,
            keep_null=layout.options.keep_nulls,
            spread=isinstance(attribute.kind, Members),
        )
        for position, (attribute, value) in enumerate(zip(attributes, values, strict=True))
    ]
    version = next((member for member in members if member.name == layout.version), None)
    return wire.Items(layout.table, members[: len(layout.key)], members, version)


def _texts(
    layout: ItemForm,
    described: wire.Items,
    texts: pl.DataFrame,
    deletes: npt.NDArray[np.bool_],
    gone: npt.NDArray[np.bool_],
) -> pl.Series:
    mode = layout.mode
    text = mode.put(described)
    if mode.delete is not None and deletes.any():
        text = pl.when(pl.Series(deletes)).then(mode.delete(described)).otherwise(text)
    if mode.gone is not None and gone.any():
        text = pl.when(pl.Series(gone)).then(mode.gone(described)).otherwise(text)
    made = texts.select(text).to_series()
    assert made.null_count() == 0, "only a flawed item lacks what every item has"
    return made


def _flaws(
    plan: RulePlan,
    frame: pl.DataFrame,
    values: Sequence[Values],
    sizes: npt.NDArray[np.int64],
    texts: pl.DataFrame,
    described: wire.Items,
) -> dict[int, str]:
    """Return each bad item's first flaw, by row. A delete has no other attributes than its key."""
    layout, flaws = plan.layout, dict[int, str]()
    deleted = frozenset(frame[DELETE].arg_true().to_list()) if frame[DELETE].any() else frozenset[int]()

    def add(found: Mapping[int, str], *, of_deletes: bool, where: str | None = None) -> None:
        for row, flaw in found.items():
            if of_deletes or row not in deleted:
                flaws.setdefault(row, placed(flaw, where) if where is not None else flaw)

    found = frame[FLAW]
    if found.null_count() < len(found):
        unmade = found.is_not_null().arg_true()
        add(dict(zip(unmade.to_list(), found.gather(unmade).to_list(), strict=True)), of_deletes=True)
    for position, (attribute, value) in enumerate(zip(plan.ordered, values, strict=True)):
        is_key = position < len(layout.key)
        name = None if isinstance(attribute.kind, Members) else attribute.name
        of_deletes = is_key or (layout.mode.compares and name == layout.version)
        add(value.flaws, of_deletes=of_deletes, where=name)
        for role in () if name is None else layout.roles.get(name, ()):
            unfit = key_flaws(value, role, keep_nulls=layout.options.keep_nulls)
            add(unfit, of_deletes=role.primary, where=name)
        if layout.mode.compares and name == layout.version:
            add(version_flaws(value, attribute.kind), of_deletes=True, where=name)
        add(_depth_flaws(value, attribute), of_deletes=False, where=name)
    for row in np.flatnonzero(sizes > ITEM_BYTES_MAX).tolist():
        flaw = f"item_too_large: {sizes[row]} bytes, {ITEM_BYTES_MAX} are the most"
        add({row: flaw}, of_deletes=False)
    if layout.mode.statements and plan.long_statement:
        too_long = texts.select(wire.statement(described).str.len_chars() > STATEMENT_LENGTH_MAX).to_series()
        flaw = (
            f"value_unsupported: its names make an INSERT of over {STATEMENT_LENGTH_MAX} characters;"
            " use mode put or newer"
        )
        add(dict.fromkeys(too_long.arg_true().to_list(), flaw), of_deletes=False)
    return flaws


def _depth_flaws(value: Values, attribute: Attribute) -> dict[int, str]:
    too_deep: list[int] = []
    if isinstance(value.depth, int):
        too_deep = list(range(len(value.text))) if value.depth >= NESTING_LEVELS_MAX else []
    elif (value.depth.max() or 0) >= NESTING_LEVELS_MAX:  # type: ignore[operator]
        too_deep = (value.depth >= NESTING_LEVELS_MAX).fill_null(value=False).arg_true().to_list()
    way = "" if isinstance(attribute.kind, ListOf | StructOf) else AS_TEXT
    flaw = f"nesting_too_deep: over {NESTING_LEVELS_MAX} levels, the innermost value counted{way}"
    return dict.fromkeys(too_deep, flaw)


def _item_json(
    layout: ItemForm, attributes: Sequence[Attribute], values: Sequence[Values], row: int, *, deleted: bool
) -> str | None:
    """Return an item as DynamoDB JSON, bad values and all; None when it is huge."""
    members = []
    shown = len(layout.key) if deleted else len(attributes)
    for attribute, value in zip(attributes[:shown], values[:shown], strict=True):
        text = value.text[row]
        if isinstance(attribute.kind, Members):
            members += [text[1:]] if text else []
        elif text is not None:
            members.append(f"{json_name(attribute.name)}:{value.before}{text}{value.after}")
        elif layout.options.keep_nulls:
            members.append(f"{json_name(attribute.name)}:{NULL_WIRE}")
    if sum(map(len, members)) > _ITEM_JSON_LENGTH_MAX:
        return None
    return f"{{{','.join(members)}}}"
