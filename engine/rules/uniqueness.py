"""Whether two items of a run can have the same primary key: proved from templates and constraints. Pure.

Invariant: errs on the side of order. What isn't proved to differ counts as able to be equal.
"""

from dataclasses import dataclass
from itertools import combinations

from engine.job.items import ItemRule
from engine.job.model import Job
from engine.kinds import RowSchema
from engine.rules.key_texts import INDEX, Columns, can_meet, columns_of, recovered

_APART = "begin their partition or sort keys with different texts"


@dataclass(frozen=True, slots=True)
class RuleKeys:
    """What the templates tell of one rule's keys.

    `shared`: the source columns whose texts can be read out of the key, so that equal keys have equal texts
    there (and equal values, where the source knows the column's type). `reason`: why two items of the rule
    might have one key; None: proved that they can't. `way_out`: what would prove it.
    """

    rule: str
    shared: frozenset[str]
    reason: str | None = None
    way_out: str = ""


@dataclass(frozen=True, slots=True)
class KeyProof:
    """Whether items of a run can have equal keys. `between`: why two rules' might; None: they can't.

    `said`: the user's word that each key is one row's alone.
    """

    rules: tuple[RuleKeys, ...]
    between: str | None = None
    said: bool = False

    @property
    def reason(self) -> str | None:
        """Why items might have equal keys, the first reason; None when they provably can't."""
        return next((rule.reason for rule in self.rules if rule.reason is not None), self.between)

    @property
    def way_out(self) -> str:
        """What would prove what `reason` says is open."""
        return next((rule.way_out for rule in self.rules if rule.reason is not None), _APART)


def key_proof(job: Job, schema: RowSchema) -> KeyProof:
    """Say of each rule, and of all together, why items of a run might have equal keys.

    Each rule's key must hold what tells its row from all others, so that it can be read out of the key again
    (a null among it makes a dead letter, never a key), and no key of one rule may look like another rule's.
    """
    # What a hook makes of a column, its kind doesn't tell.
    columns = {} if job.transform is not None else columns_of(schema)
    rules = tuple(_rule_keys(job, rule, columns, schema.told_apart) for rule in job.items)
    for first, second in combinations(job.items, 2):
        if not _apart(first, second, columns):
            return KeyProof(rules, f"the rules {first.name} and {second.name} may give equal keys")
    return KeyProof(rules)


def _rule_keys(
    job: Job, rule: ItemRule, columns: Columns, told_apart: tuple[frozenset[str], ...]
) -> RuleKeys:
    """Say what one rule's templates tell of its keys."""
    each = rule.for_each is not None
    templates = [template for _, template in rule.key_templates()]
    exact, shared = (
        frozenset[str]().union(
            *(recovered(template, columns, each, blind=blind).values() for template in templates)
        )
        for blind in (False, True)
    )
    reason, way_out = _repeats(rule, exact, told_apart)
    if job.transform is not None:
        reason = f"transform {job.transform} may give several rows one key"
        way_out = "rules without a hook can be loaded by several cursors at once"
    return RuleKeys(rule.name, shared - {INDEX}, reason, way_out)


def _repeats(
    rule: ItemRule, found: frozenset[str], told_apart: tuple[frozenset[str], ...]
) -> tuple[str | None, str]:
    """Say why two items of one rule might have equal keys, and what would prove that they don't."""
    if not told_apart:
        return (
            "the source has no column that is proved to be unique",
            "a primary key or a unique index lets several cursors read it",
        )
    if not any(columns <= found for columns in told_apart):
        wanted = " or ".join(" and ".join(f"{{{name}}}" for name in sorted(names)) for names in told_apart)
        return (
            f"the key of rule {rule.name} doesn't show which row an item is from",
            f"put {wanted} into it, set apart from what stands beside by a character that can't be in it",
        )
    if rule.for_each is not None and INDEX not in found:
        return (
            f"the key of rule {rule.name} doesn't show which element of {rule.for_each} an item is from",
            "put {index} into it",
        )
    return None, ""


def _apart(first: ItemRule, second: ItemRule, columns: Columns) -> bool:
    """Whether no key of one rule can equal one of the other, by the texts of one of the attributes."""
    others = dict(second.key_templates())
    each = (first.for_each is not None, second.for_each is not None)
    return any(
        not can_meet(template, others[name], columns, each)
        for name, template in first.key_templates()
        if name in others
    )
