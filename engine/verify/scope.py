"""Which items of a table its jobs could have written: by the texts that their rules' keys can be. Pure.

Invariant: an item that a rule makes is in scope; one that is in scope fits every key template of one rule.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engine.job.model import Job
from engine.job.template import Placeholder, Template
from engine.kinds import Kind, RowSchema
from engine.rules.uniqueness import alphabet
from engine.verify.digests import KeySchema
from engine.verify.values import Item


@dataclass(frozen=True, slots=True)
class Scope:
    """The keys that rules can make. Shape: per rule a pattern for each key attribute."""

    schema: KeySchema
    rules: tuple[tuple[re.Pattern[str], ...], ...]

    def holds(self, item: Item) -> bool:
        """Whether a rule could have made this item's key."""
        texts = [
            item[name][letter] for name, letter in zip(self.schema.names, self.schema.types, strict=True)
        ]
        return any(
            all(pattern.fullmatch(text) for pattern, text in zip(rule, texts, strict=True))
            for rule in self.rules
        )


def scope_of(jobs: Iterable[tuple[Job, RowSchema]], schema: KeySchema) -> Scope:
    """Return what keys the rules of jobs can make of their sources' rows."""
    rules = []
    for job, rows in jobs:
        # What a hook makes of a column, its kind doesn't tell.
        kinds = {} if job.transform else {column.name: column.kind for column in rows.visible}
        for rule in job.items:
            templates = dict(rule.key_templates())
            each = rule.for_each is not None
            rules.append(tuple(pattern_of(templates[name], kinds, each=each) for name in schema.names))
    return Scope(schema, tuple(rules))


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
