"""Which items of a table this job could have written: by the literal texts of its rules' keys. Pure.

Invariant: errs on the side of calling an item ours only where every key attribute fits one rule's templates.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from engine.job.model import Job
from engine.job.template import Placeholder, Template, single
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


def scope_of(jobs: Sequence[Job], schema: KeySchema) -> Scope:
    """Return what keys the rules of jobs can make."""
    return Scope(
        schema,
        tuple(
            tuple(pattern_of(dict(rule.key_templates())[name]) for name in schema.names)
            for job in jobs
            for rule in job.items
        ),
    )


def pattern_of(template: Template) -> re.Pattern[str]:
    """Return a pattern of the texts that a template can make."""
    if single(template) is not None:
        return re.compile(".*", re.DOTALL)
    parts = [".*" if isinstance(part, Placeholder) else re.escape(part) for part in template]
    return re.compile("".join(parts), re.DOTALL)
