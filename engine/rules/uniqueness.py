"""Whether two items of a run can have the same primary key: proved from templates and kinds alone. Pure.

Invariant: errs on the side of order. What isn't proved to differ counts as able to be equal.
"""

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from engine.job.items import ItemRule
from engine.job.model import Job
from engine.job.template import Placeholder, Template
from engine.kinds import Decimal, Kind, RowSchema, Scalar

_INDEX = "\0index"
_DIGITS = frozenset(string.digits)
_INFINITE = frozenset("infinity")
_NUMERIC = _DIGITS | frozenset("+-.eENaInfinity")
_MOMENT = _DIGITS | _INFINITE | frozenset("-:.TZ")
_ALPHABETS: dict[Scalar, frozenset[str]] = {
    Scalar.INT: _DIGITS | {"-"},
    Scalar.NUMBER: _NUMERIC,
    Scalar.FLOAT: _NUMERIC,
    Scalar.BOOL: frozenset("truefalse"),
    Scalar.DATE: _MOMENT,
    Scalar.TIMESTAMP: _MOMENT,
    Scalar.TIMESTAMPTZ: _MOMENT,
    Scalar.TIME: _DIGITS | frozenset(":."),
    Scalar.BINARY: frozenset(string.ascii_letters + string.digits + "+/="),
}
"""The characters that canonical texts of a kind are made of; STRING has any."""
_DIGIT_DIRECTIVES = {letter: frozenset[str]() for letter in "YmdHMSyjCeGgVUWuwfs"} | {
    "F": frozenset("-"),
    "T": frozenset(":"),
    "R": frozenset(":"),
    "D": frozenset("/"),
    "e": frozenset(" "),
}
_APART = "begin their partition or sort keys with different texts"


@dataclass(frozen=True, slots=True)
class RuleKeys:
    """What the templates tell of one rule's keys.

    `shared`: the source columns whose values can be read out of the key, so that equal keys have equal values
    there. `reason`: why two items of the rule might have one key; None: proved that they can't. `way_out`:
    what would prove it.
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

    Each rule's key must hold an identity of the row, so that it can be read out of the key again, and no key
    of one rule may look like another rule's.
    """
    kinds = {column.name: column.kind for column in schema.visible}
    rules = tuple(_rule_keys(job, rule, kinds, schema.identities) for rule in job.items)
    for first, second in combinations(job.items, 2):
        if not _apart(first, second):
            return KeyProof(rules, f"the rules {first.name} and {second.name} may give equal keys")
    return KeyProof(rules)


def _rule_keys(
    job: Job, rule: ItemRule, kinds: dict[str, Kind], identities: Sequence[frozenset[str]]
) -> RuleKeys:
    """Say what one rule's templates tell of its keys."""
    if job.transform is not None:
        return RuleKeys(
            rule.name,
            frozenset(),
            f"transform {job.transform} may give several rows one key",
            "rules without a hook can be loaded by several cursors at once",
        )
    each = rule.for_each is not None
    found = frozenset[str]().union(
        *(recovered(template, kinds, each).values() for _, template in rule.key_templates())
    )
    return RuleKeys(rule.name, found - {_INDEX}, *_repeats(rule, found, identities))


def _repeats(
    rule: ItemRule, found: frozenset[str], identities: Sequence[frozenset[str]]
) -> tuple[str | None, str]:
    """Say why two items of one rule might have equal keys, and what would prove that they don't."""
    if not identities:
        return (
            "the source has no column that is proved to be unique and never null",
            "a primary key, or a unique index over not-null columns, lets several cursors read it",
        )
    if not any(identity <= found for identity in identities):
        wanted = " or ".join(" and ".join(f"{{{name}}}" for name in sorted(names)) for names in identities)
        return (
            f"the key of rule {rule.name} doesn't show which row an item is from",
            f"put {wanted} into it, set apart from what stands beside by a character that can't be in it",
        )
    if rule.for_each is not None and _INDEX not in found:
        return (
            f"the key of rule {rule.name} doesn't show which element of {rule.for_each} an item is from",
            "put {index} into it",
        )
    return None, ""


def recovered(template: Template, kinds: dict[str, Kind], each: bool) -> dict[int, str]:
    """Return the columns (and _INDEX) whose values can be read out of every text of a template.

    Shape: by the place of the placeholder that tells. A column may stand in a template twice, and only once
    where it can be told from what stands beside.
    """
    from_left = _delimited(template, kinds, each, 1)
    from_right = _delimited(template[::-1], kinds, each, -1)
    places = [at for at, part in enumerate(template) if isinstance(part, Placeholder)]
    # With all others cut off from both ends, what remains is the last one.
    everything = from_left + from_right + 1 >= len(places)
    readable = places if everything else places[:from_left] + places[len(places) - from_right :]
    columns = {at: _identified(template[at], kinds, each) for at in readable}
    return {at: column for at, column in columns.items() if column is not None}


def _delimited(template: Template, kinds: dict[str, Kind], each: bool, step: int) -> int:
    """Count the placeholders that can be read one after the other from the template's start.

    `step` is -1 when the template is given backwards, and its literals are to be read so too.
    """
    count = 0
    for part, following in zip(template, (*template[1:], None), strict=True):
        if isinstance(part, str):
            continue
        signs = alphabet(part, kinds, each)
        if signs is None or isinstance(following, Placeholder):
            return count
        if following is not None and following[::step][0] in signs:
            return count
        count += 1
    return count


def _identified(part: str | Placeholder, kinds: dict[str, Kind], each: bool) -> str | None:
    """Return the column that a placeholder's text tells exactly, if it does."""
    assert isinstance(part, Placeholder), "only placeholders tell columns"
    name = _column(part, kinds, each)
    kind = Scalar.INT if name == _INDEX else None if name is None else kinds[name]
    exact = isinstance(kind, Scalar | Decimal) and (part.format is None or "%" not in part.format)
    return name if exact else None


def _column(part: Placeholder, kinds: dict[str, Kind], each: bool) -> str | None:
    """Return the column that a placeholder names whole, _INDEX for the element's, or None."""
    if each and part.path[0] == "each":
        return None
    if each and part.path == ("index",):
        return _INDEX
    name = ".".join(part.path)
    return name if name in kinds else None


def alphabet(part: Placeholder, kinds: dict[str, Kind], each: bool) -> frozenset[str] | None:
    """Return all the characters that a placeholder's text can hold; None when that can be any."""
    if part.format is not None and "%" in part.format:
        return _format_alphabet(part.format)
    name = _column(part, kinds, each)
    if part.format is not None or name == _INDEX:
        return _ALPHABETS[Scalar.INT]
    kind = kinds.get(name) if name is not None else None
    if isinstance(kind, Decimal):
        return _NUMERIC
    return _ALPHABETS.get(kind) if isinstance(kind, Scalar) else None


def _format_alphabet(value_format: str) -> frozenset[str] | None:
    """Return the characters of what a strftime format writes; None when names or offsets are among it."""
    found = set(_DIGITS | {"-"})
    for directive, literal in re.findall("%(.)|(.)", value_format, re.DOTALL):
        if directive == "%" or literal:
            found.add(literal or "%")
        elif directive in _DIGIT_DIRECTIVES:
            found |= _DIGIT_DIRECTIVES[directive]
        else:
            return None
    return frozenset(found)


def _apart(first: ItemRule, second: ItemRule) -> bool:
    """Whether no key of one rule can equal one of the other, by the literals of one of the attributes."""
    others = dict(second.key_templates())
    return any(_differ(template, others[name]) for name, template in first.key_templates() if name in others)


def _differ(first: Template, second: Template) -> bool:
    """Whether no text of one template can be a text of the other."""
    if _edges_conflict(first, second, 1) or _edges_conflict(first[::-1], second[::-1], -1):
        return True
    return _shorter(first, second) or _shorter(second, first)


def _edges_conflict(first: Template, second: Template, step: int) -> bool:
    one, other = _edge(first, step), _edge(second, step)
    length = min(len(one), len(other))
    return one[:length] != other[:length]


def _edge(template: Template, step: int) -> str:
    part = template[0]
    return part[::step] if isinstance(part, str) else ""


def _shorter(first: Template, second: Template) -> bool:
    """Whether one template is a mere literal, shorter than the literals of the other together."""
    if any(isinstance(part, Placeholder) for part in first):
        return False
    length, other = (sum(len(part) for part in t if isinstance(part, str)) for t in (first, second))
    return length < other
