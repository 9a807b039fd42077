"""Item rules: compiled once to Polars expressions; then a batch of rows in, the items of every rule out.

Invariant: pure. What the rules name is checked while compiling, so a batch can only fail by its values, and
then item by item.
"""

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from engine.batch import Batch
from engine.contracts.documents import DocumentCodec
from engine.contracts.transform import DELETE, FLAW, ROW, RuleItems, RuleShape, Transform
from engine.frozen import dataclass
from engine.job.model import Job
from engine.kinds import Kind, RowSchema
from engine.rules.fields import is_inner, rest_of
from engine.rules.hooked import Hooked
from engine.rules.rows import FAULT, ROW_NUMBER, read, with_types
from engine.rules.rule import Rule, compiled_rule
from engine.rules.typed import typed_dtype
from engine.rules.versions import check_versions


def compile_rules(
    job: Job,
    schema: RowSchema,
    hook: Callable[[pl.LazyFrame], pl.LazyFrame] | None,
    codec: DocumentCodec,
) -> Transform:
    """Compile a job's item rules for the rows of its source, whose documents the target's codec wrote.

    Raises: JobError naming the rule and the attribute, when a rule names a column that isn't there, or asks
    of one what its values can't do.
    """
    check_versions(job, schema)
    kinds = {column.name: column.kind for column in schema.visible}
    if hook is None:
        types = {name: typed_dtype(kind) for name, kind in kinds.items() if not is_inner(name)}
        rules = _compiled(job, kinds, types, codec, is_open=schema.open)
        columns = frozenset[str]().union(*(rule.columns for rule in rules))
        named_in_sql = frozenset[str]().union(*(rule.sql_columns for rule in rules))
        return _Plain(
            rules,
            tuple(name for name in kinds if name in columns | named_in_sql),
            {name: kind for name, kind in kinds.items() if name in named_in_sql},
            codec,
        )
    hooked = Hooked.compiled(hook, job.hook or "the hook", codec, kinds, job.hook_keeps)
    return _WithHook(_compiled(job, hooked.kinds, hooked.types, codec), hooked)


def _compiled(
    job: Job,
    kinds: Mapping[str, Kind],
    types: Mapping[str, pl.DataType],
    codec: DocumentCodec,
    *,
    is_open: bool = False,
) -> tuple[Rule, ...]:
    return tuple(
        compiled_rule(number, rule, kinds, types, codec, rest_of(job, rule) if is_open else None)
        for number, rule in enumerate(job.items)
    )


@dataclass(frozen=True, slots=True)
class _Plain:
    """Rules over the source's own columns: only those that a rule names are touched, or typed."""

    compiled: tuple[Rule, ...]
    columns: tuple[str, ...]
    typed: Mapping[str, Kind]
    codec: DocumentCodec

    @property
    def rules(self) -> Sequence[RuleShape]:
        """What each rule gives, in the rules' order."""
        return [rule.shape for rule in self.compiled]

    def __call__(self, batch: Batch) -> Sequence[RuleItems]:
        """Turn a batch of rows into the items of every rule."""
        rows = with_types(read(batch, self.columns), self.typed, self.codec)
        return [rule.items(rows) for rule in self.compiled]


@dataclass(frozen=True, slots=True)
class _WithHook:
    """Rules over what the hook makes of the rows; rows that it can't be given become flawed items."""

    compiled: tuple[Rule, ...]
    hooked: Hooked

    @property
    def rules(self) -> Sequence[RuleShape]:
        """What each rule gives, in the rules' order."""
        return [rule.shape for rule in self.compiled]

    def __call__(self, batch: Batch) -> Sequence[RuleItems]:
        """Turn a batch of rows into the items of every rule."""
        rows, bypassed = self.hooked(batch)
        items = [rule.items(rows) for rule in self.compiled]
        return items if bypassed.is_empty() else [_with_bypassed(each, bypassed) for each in items]


def _with_bypassed(items: RuleItems, bypassed: pl.DataFrame) -> RuleItems:
    """Add an item without attributes for each row that has passed the hook by."""
    flawed = bypassed.select(
        pl.col(ROW_NUMBER).alias(ROW), pl.lit(value=False).alias(DELETE), pl.col(FAULT).alias(FLAW)
    )
    frame = pl.concat([items.frame, flawed], how="diagonal").sort(ROW, maintain_order=True)
    return RuleItems(items.rule, items.name, items.attributes, frame)
