"""Whether two items of a run can have the same primary key: proved from templates and constraints. Pure.

Invariant: errs on the side of order. What isn't proved to differ counts as able to be equal.
"""

from itertools import combinations

from engine.errors import JobError
from engine.frozen import dataclass
from engine.job.items import ItemRule
from engine.job.model import Job
from engine.job.section import nearest
from engine.kinds import RowSchema
from engine.rules.key_texts import INDEX, Columns, can_meet, columns_of, recovered

_APART = "begin their partition or sort keys with different texts"


@dataclass(frozen=True, slots=True)
class RuleKeys:
    """What the templates tell of one rule's keys.

    `shared`: the source columns whose texts can be read out of the key, so that equal keys have equal texts
    there (and equal values, where the source knows the column's type). `reason`: why two items of the rule
    might have one key; None: proved that they can't. `way_out`: what would prove it, `by`: what
    does, as placeholders. `said`: the user's word that they don't. `row_told`: proved that an item of another
    row never has it, though one of the same row may.
    """

    rule: str
    shared: frozenset[str]
    reason: str | None = None
    way_out: str = ""
    by: str = ""
    said: bool = False
    row_told: bool = False


@dataclass(frozen=True, slots=True)
class KeyProof:
    """Whether items of a run can have equal keys. `between`: why two rules' might; None: they can't.

    `said`: what isn't proved the user says, so each key is one row's alone if that is true.
    """

    rules: tuple[RuleKeys, ...]
    between: str | None = None
    said: bool = False

    @property
    def reason(self) -> str | None:
        """Why items might have equal keys, the first reason; None when they provably can't."""
        return next((rule.reason for rule in self.rules if rule.reason is not None), self.between)

    @property
    def rows_told(self) -> bool:
        """Whether it is proved that two rows never make one key, whatever two elements of one row do."""
        return self.between is None and all(rule.row_told for rule in self.rules)

    @property
    def way_out_between(self) -> str:
        """What would prove that two rules' keys never meet."""
        return _APART

    @property
    def way_out(self) -> str:
        """What would prove what `reason` says is open."""
        return next((rule.way_out for rule in self.rules if rule.reason is not None), _APART)


def key_proof(job: Job, schema: RowSchema) -> KeyProof:
    """Say of each rule, and of all together, why items of a run might have equal keys.

    Each rule's key must hold what tells its row from all others, so that it can be read out of the key again
    (a null among it makes a dead letter, never a key), and no key of one rule may look like another rule's.
    Raises: JobError when the user's word is about a column that isn't there.
    """
    columns = columns_of(schema)
    words = _words(job, columns)
    if job.hook is not None:  # what it makes of a column that it doesn't keep, the column's kind doesn't tell
        columns = {name: column for name, column in columns.items() if name in job.hook_keeps}
    rules = tuple(_rule_keys(job, rule, columns, schema, words) for rule in job.items)
    meeting = [pair for pair in combinations(job.items, 2) if not apart(*pair, columns)]
    between = None
    if meeting:
        between = f"the rules {' and '.join(rule.name for rule in meeting[0])} may give equal keys"
    unproved = [rule for rule in rules if rule.reason is not None]
    said = all(rule.said for rule in unproved) and all(
        first.unique or second.unique or job.source.unique is True for first, second in meeting
    )
    return KeyProof(rules, between, said and bool(unproved or meeting))


def _words(job: Job, columns: Columns) -> tuple[frozenset[str], ...]:
    """Return the sets of columns that are unique by the user's word. Raises: JobError (no such column)."""
    if isinstance(job.source.unique, bool):
        return ()
    for name in (name for names in job.source.unique for name in names):
        if name not in columns:
            raise JobError(f"source.unique: there is no column {name}; {nearest(name, columns)}")
    return tuple(map(frozenset, job.source.unique))


def _rule_keys(
    job: Job,
    rule: ItemRule,
    columns: Columns,
    schema: RowSchema,
    words: tuple[frozenset[str], ...],
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
    # An identity is told by its values, what else is unique by its texts, which say less of mixed types.
    proving = [names for names in schema.identities if names <= exact]
    proving += [names for names in schema.unique if names <= shared]
    elements = each and INDEX not in exact
    reason, way_out = _repeats(rule, (*schema.identities, *schema.unique), bool(proving), elements)
    if job.hook is not None and not job.hook_keeps:
        reason = f"transform {job.hook} may give several rows one key"
        way_out = "say in transform.keeps which columns it leaves alone, if it gives no row twice"
    by_word = any(names <= shared for names in words) and not elements
    said = reason is not None and (by_word or rule.unique or job.source.unique is True)
    by = ""
    if reason is None:
        by = _placeholders(proving[0]) + (" and {index}" if each else "")
    return RuleKeys(rule.name, shared - {INDEX}, reason, way_out, by, said, row_told=bool(proving))


def _placeholders(names: frozenset[str]) -> str:
    return " and ".join(f"{{{name}}}" for name in sorted(names))


def _repeats(
    rule: ItemRule, told_apart: tuple[frozenset[str], ...], proved: bool, elements: bool
) -> tuple[str | None, str]:
    """Say why two items of one rule might have equal keys, and what would prove that they don't.

    `proved`: the key tells its row; `elements`: it doesn't tell the element of a list.
    """
    if not told_apart:
        return (
            "the source has no column that is proved to be unique",
            "a primary key or a unique index lets several cursors read it",
        )
    if not proved:
        wanted = " or ".join(map(_placeholders, told_apart))
        return (
            f"the key of rule {rule.name} doesn't show which row an item is from",
            f"put {wanted} into it, set apart from what stands beside by a character that can't be in it",
        )
    if elements:
        return (
            f"the key of rule {rule.name} doesn't show which element of {rule.for_each} an item is from",
            "put {index} into it",
        )
    return None, ""


def apart(first: ItemRule, second: ItemRule, columns: Columns) -> bool:
    """Whether no key of one rule can equal one of the other, by the texts of one of the attributes."""
    others = dict(second.key_templates())
    each = (first.for_each is not None, second.for_each is not None)
    return any(
        not can_meet(template, others[name], columns, each)
        for name, template in first.key_templates()
        if name in others
    )
