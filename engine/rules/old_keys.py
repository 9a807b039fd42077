"""The keys that rows made before they changed: the item rules for rows as they were. Pure.

Invariant: a key that a row's items had is among those that are made of its old row. Conditions are left out,
since more keys do no harm where a key is one row's alone: no item of another row has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from engine.batch import Batch
from engine.contracts.documents import DocumentCodec
from engine.contracts.transform import DELETE, FLAW, ROW, RuleItems, RuleShape, Transform
from engine.errors import JobError
from engine.job.items import ItemRule
from engine.job.model import Job
from engine.job.template import placeholders
from engine.kinds import RowSchema
from engine.rules.transform import compile_rules


@dataclass(frozen=True, slots=True)
class OldKeys:
    """Rules that make keys alone. `needed`: the source columns that they are made of."""

    made: Transform
    needed: frozenset[str]


def old_keys(job: Job, schema: RowSchema, codec: DocumentCodec) -> OldKeys:
    """Compile the rules for the keys of rows as they were.

    Raises: JobError where a key can't be told of a row that is gone.
    """
    needed = frozenset[str]()
    for number, rule in enumerate(job.items):
        named = _named(rule)
        if job.hook is not None and (lost := sorted(named - job.hook_keeps)):
            raise JobError(
                f"items[{number}].key: {', '.join(lost)} comes out of transform {job.hook}, which can't be"
                " asked about rows that are gone; make keys of columns that the hook leaves alone, and say"
                " which: transform: {hook: …, keeps: […]}"
            )
        needed |= named
    rules = tuple(
        rule.model_copy(
            update={"include": "none", "exclude": (), "attributes": {}, "when": None, "delete_when": None}
        )
        for rule in job.items
    )
    plain = job.model_copy(update={"items": rules, "transform": None})
    return OldKeys(compile_rules(plain, schema, None, codec), needed)


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

    def keys(self, batch: Batch, rule: str) -> Sequence[RuleItems]:
        """Return what has the keys that a rule makes of all rows, whatever its items are worth otherwise."""
        first = len(self.now.rules)
        return [
            replace(items, rule=first + items.rule, frame=_deletes(items.frame))
            for items in self.old(batch)
            if items.name == rule
        ]


def _deletes(frame: pl.DataFrame) -> pl.DataFrame:
    """Make deletes of items; what has a flaw was never written."""
    return frame.filter(pl.col(FLAW).is_null()).with_columns(pl.lit(value=True).alias(DELETE))
