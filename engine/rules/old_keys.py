"""The keys that rows made before they changed: the item rules for rows as they were. Pure.

Invariant: a key that a row's items had is among those that are made of its old row. Conditions are left out,
since more keys do no harm: no item of another row has them, or those of all rows that make them are written
again. Where versions are compared, a delete has that of its old row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from engine.batch import Batch
from engine.contracts.documents import DocumentCodec
from engine.contracts.feed import ElementKeys
from engine.contracts.transform import DELETE, FLAW, ROW, RuleItems, RuleShape, Transform
from engine.errors import JobError
from engine.frozen import dataclass
from engine.job.items import Filled, ItemRule, Sql
from engine.job.model import Job
from engine.job.template import placeholders
from engine.kinds import RowSchema
from engine.rules.transform import compile_rules


@dataclass(frozen=True, slots=True)
class OldKeys:
    """Rules that make keys, with versions where they are compared, and `keys` alone.

    `needed`: the source columns that they are made of; `elements` of the lists among these.
    """

    made: Transform
    keys: Transform
    needed: frozenset[str]
    elements: Mapping[str, ElementKeys]


def old_keys(job: Job, schema: RowSchema, codec: DocumentCodec) -> OldKeys:
    """Compile the rules for the keys of rows as they were.

    Raises: JobError where a key can't be told of a row that is gone.
    """
    needed, versions, elements = frozenset[str](), list[dict[str, Any]](), dict[str, ElementKeys]()
    for number, rule in enumerate(job.items):
        version, of_version = _version(rule, number, job.target.compared)
        versions.append(version)
        named = _named(rule) | of_version
        if job.hook is not None and (lost := sorted(named - job.hook_keeps)):
            raise JobError(
                f"items[{number}].key: {', '.join(lost)} comes out of transform {job.hook}, which can't be"
                " asked about rows that are gone; make keys and versions of columns that the hook leaves"
                " alone, and say which: transform: {hook: …, keeps: […]}"
            )
        needed |= named
        if (path := rule.for_each_path()) is not None:
            of_each = _of_elements(rule, path, named, versioned=job.target.compared is not None)
            elements[path[0]] = elements.get(path[0], of_each).joined(of_each)
    bare: dict[str, Any] = {
        "include": "none",
        "exclude": (),
        "attributes": {},
        "when": None,
        "delete_when": None,
    }

    def compiled(more: Sequence[dict[str, Any]]) -> Transform:
        rules = tuple(rule.model_copy(update=bare | of) for rule, of in zip(job.items, more, strict=True))
        return compile_rules(job.model_copy(update={"items": rules, "transform": None}), schema, None, codec)

    keys = compiled([{}] * len(job.items))
    return OldKeys(compiled(versions) if any(versions) else keys, keys, needed, elements)


def _of_elements(
    rule: ItemRule, path: tuple[str, ...], named: frozenset[str], *, versioned: bool
) -> ElementKeys:
    """Return what a rule's keys are made of, which has one for each element of the list at a path."""
    parts = [part for _, template in rule.key_templates() for part in placeholders(template)]
    whole = versioned or len(path) > 1 or any(part.of_position for part in parts)
    paths = [part.path for part in parts if part.of_element]
    fields = None if whole or any(len(each) < 2 for each in paths) else frozenset(each[1] for each in paths)
    return ElementKeys(named - {path[0]}, fields)


def _version(rule: ItemRule, number: int, compared: str | None) -> tuple[dict[str, Any], frozenset[str]]:
    """Return what of a rule makes the version that is compared, and the columns that it is made of."""
    if compared is None or compared in rule.key:
        return {}, frozenset()
    made = dict(rule.attribute_rules()).get(compared)
    if isinstance(made, Sql):
        raise JobError(
            f"source.catch_up: {compared} of items[{number}] is computed by SQL, and of a row that is gone"
            " the log has columns alone; make the version of a column by a template, or use mode put"
        )
    if made is None:
        return {"include": (compared,)}, frozenset({compared})
    columns = frozenset[str]()
    if isinstance(made, Filled):
        columns = frozenset(
            part.path[0]
            for part in placeholders(made.template)
            if rule.for_each is None or not (part.of_element or part.of_position)
        )
    return {"attributes": {compared: rule.attributes[compared]}}, columns


def _named(rule: ItemRule) -> frozenset[str]:
    """Return the columns that a rule's keys are made of."""
    path = rule.for_each_path()
    names = {
        part.path[0]
        for _, template in rule.key_templates()
        for part in placeholders(template)
        if path is None or not (part.of_element or part.of_position)
    }
    return frozenset(names) if path is None else frozenset(names | {path[0]})


@dataclass(frozen=True, slots=True)
class WithOldKeys:
    """The rules of a job over rows as they are now, and behind them in number those for old rows' keys.

    Of a batch the old rows give deletes, before all that its other rows give: of equal keys the last stays.
    """

    now: Transform
    old: Transform
    keys_alone: Transform

    @property
    def rules(self) -> Sequence[RuleShape]:
        """What each rule gives, in the rules' order."""
        return [*self.now.rules, *self.old.rules]

    def __call__(self, batch: Batch) -> Sequence[RuleItems]:
        """Turn a batch into the items of its rows and the deletes of its old rows."""
        if not batch.old:
            return self.now(batch)
        first = len(self.now.rules)
        gone = [
            replace(items, rule=first + items.rule, frame=_deletes(items.frame))
            for items in self.old(replace(batch, rows=batch.rows.slice(0, batch.old), old=0))
        ]
        made = [
            replace(items, frame=items.frame.with_columns((pl.col(ROW) + batch.old).cast(pl.UInt32)))
            for items in self.now(replace(batch, rows=batch.rows.slice(batch.old), old=0))
        ]
        return [*gone, *made]

    def keys(self, batch: Batch, rule: str | None = None) -> Sequence[RuleItems]:
        """Return what has the keys that a rule makes of all rows, whatever its items are worth; None: any."""
        return [
            replace(items, frame=_deletes(items.frame))
            for items in self.keys_alone(batch)
            if rule in (None, items.name)
        ]


def _deletes(frame: pl.DataFrame) -> pl.DataFrame:
    """Make deletes of items; what has a flaw was never written."""
    return frame.filter(pl.col(FLAW).is_null()).with_columns(pl.lit(value=True).alias(DELETE))
