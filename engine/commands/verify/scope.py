"""Which items of a table its jobs could have written: by the texts that their rules' keys can be. Pure.

Invariant: an item that a rule makes is in scope; one that is in scope fits every key template of one rule.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from engine.commands.verify.digests import KeySchema
from engine.commands.verify.values import Item
from engine.job.items import ItemRule
from engine.job.model import Job
from engine.job.template import Placeholder, Template
from engine.kinds import Kind, RowSchema
from engine.rules.uniqueness import alphabet

Patterns: TypeAlias = tuple[tuple[re.Pattern[str], ...], ...]
"""Per rule a pattern for each key attribute."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The keys that rules can make: today's, and `former` ones unless `others`, of other jobs, make them."""

    schema: KeySchema
    rules: Patterns
    former: Patterns = ()
    others: Patterns = ()

    @property
    def texts(self) -> list[list[list[str]]]:
        """The patterns as texts."""
        each = (self.rules, self.former, self.others)
        return [[[pattern.pattern for pattern in rule] for rule in rules] for rules in each]

    def holds(self, item: Item) -> bool:
        """Whether a rule, of today or of an earlier run, could have made this item's key."""
        return self._made_by(self.rules, item) or self.formerly(item)

    def formerly(self, item: Item) -> bool:
        """Whether only rules of earlier runs could have made this item's key."""
        return (
            self._made_by(self.former, item)
            and not self._made_by(self.rules, item)
            and not self._made_by(self.others, item)
        )

    def _made_by(self, rules: Patterns, item: Item) -> bool:
        if not rules:
            return False
        texts = [
            item[name][letter] for name, letter in zip(self.schema.names, self.schema.types, strict=True)
        ]
        return any(
            all(pattern.fullmatch(text) for pattern, text in zip(rule, texts, strict=True)) for rule in rules
        )


def scope_of(jobs: Iterable[tuple[Job, RowSchema]], schema: KeySchema) -> Scope:
    """Return what keys the rules of jobs can make of their sources' rows."""
    made: list[tuple[re.Pattern[str], ...]] = []
    for job, rows in jobs:
        # What a hook makes of a column, its kind doesn't tell.
        kinds = {} if job.transform else {column.name: column.kind for column in rows.visible}
        made += patterns_of(job.items, kinds, schema)
    return Scope(schema, tuple(made))


def patterns_of(rules: Iterable[ItemRule], kinds: Mapping[str, Kind], schema: KeySchema) -> Patterns:
    """Return what keys rules can make; without `kinds`, of any values."""
    made: list[tuple[re.Pattern[str], ...]] = []
    for rule in rules:
        templates = dict(rule.key_templates())
        each = rule.for_each is not None
        made.append(tuple(pattern_of(templates[name], kinds, each=each) for name in schema.names))
    return tuple(made)


def pattern_of(template: Template, kinds: Mapping[str, Kind], *, each: bool) -> re.Pattern[str]:
    """Return a pattern of the texts that a template can make."""
    parts = []
    for part in template:
        if not isinstance(part, Placeholder):
            parts.append(re.escape(part))
            continue
        signs = alphabet(part, dict(kinds), each) if kinds else None
        parts.append(".*" if signs is None else f"[{re.escape(''.join(sorted(signs)))}]*")
    return re.compile("".join(parts), re.DOTALL)
