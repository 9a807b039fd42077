"""Which items of a table its jobs could have written: by the texts that their rules' keys can be. Pure.

Invariant: an item that a rule makes is held; what is held fits every key template of one rule.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TypeAlias

from engine.contracts.readback import Item, ItemCodec
from engine.frozen import dataclass
from engine.job.items import ItemRule
from engine.job.model import Job
from engine.job.template import Template
from engine.kinds import RowSchema
from engine.rules.key_texts import Columns, Texts, columns_of, texts_of

Patterns: TypeAlias = tuple[tuple[re.Pattern[str], ...], ...]
"""Per rule a pattern for each key attribute."""


@dataclass(frozen=True, slots=True)
class KeyPatterns:
    """The keys that rules can make: today's, and `former` ones unless `others`, of other jobs, make them."""

    codec: ItemCodec
    rules: Patterns
    former: Patterns = ()
    others: Patterns = ()

    @property
    def texts(self) -> list[list[list[str]]]:
        """The patterns as texts."""
        each = (self.rules, self.former, self.others)
        return [[[pattern.pattern for pattern in rule] for rule in rules] for rules in each]

    def hold(self, item: Item) -> bool:
        """Whether a rule, of today or of an earlier run, could have made this item's key."""
        texts = self.codec.key_texts(item)
        return _made_by(self.rules, texts) or self._formerly(texts)

    def hold_formerly(self, item: Item) -> bool:
        """Whether only rules of earlier runs could have made this item's key."""
        texts = self.codec.key_texts(item)
        return not _made_by(self.rules, texts) and self._formerly(texts)

    def _formerly(self, texts: Sequence[str]) -> bool:
        return _made_by(self.former, texts) and not _made_by(self.others, texts)


def patterns_from(codec: ItemCodec, texts: Sequence[Sequence[Sequence[str]]]) -> KeyPatterns:
    """Return the patterns of `KeyPatterns.texts`."""
    rules, former, others = (
        tuple(tuple(re.compile(text, re.DOTALL) for text in rule) for rule in each) for each in texts
    )
    return KeyPatterns(codec, rules, former, others)


def _made_by(rules: Patterns, texts: Sequence[str]) -> bool:
    return any(
        all(pattern.fullmatch(text) for pattern, text in zip(rule, texts, strict=True)) for rule in rules
    )


def patterns_of_jobs(jobs: Iterable[tuple[Job, RowSchema]], key: Sequence[str]) -> Patterns:
    """Return what keys the rules of jobs can make of their sources' rows."""
    made: list[tuple[re.Pattern[str], ...]] = []
    for job, rows in jobs:
        # What a hook makes of a column, its kind doesn't tell.
        columns = {} if job.hook else columns_of(rows)
        made += patterns_of(job.items, columns, key)
    return tuple(made)


def patterns_of(rules: Iterable[ItemRule], columns: Columns, key: Sequence[str]) -> Patterns:
    """Return what keys rules can make; without `columns`, of any values."""
    made: list[tuple[re.Pattern[str], ...]] = []
    # What the source knows of its texts today needn't have been so when an item was written.
    wide = {name: replace(column, signs=None, width=None) for name, column in columns.items()}
    for rule in rules:
        templates = dict(rule.key_templates())
        each = rule.for_each is not None
        made.append(tuple(pattern_of(templates[name], wide, each=each) for name in key))
    return tuple(made)


def pattern_of(
    template: Template,
    columns: Columns,
    *,
    each: bool,
    groups: Mapping[int, str] = MappingProxyType({}),
) -> re.Pattern[str]:
    """Return a pattern of the texts that a template can make, with `groups` by places in it."""
    text = ""
    for at, part in enumerate(template):
        if isinstance(part, str):
            body = re.escape(part)
        else:
            body = _body(texts_of(part, columns, each)) if columns else ".*"
        text += f"(?P<{groups[at]}>{body})" if at in groups else body
    return re.compile(text, re.DOTALL)


def _body(texts: Texts) -> str:
    """Return a pattern of a placeholder's texts."""
    sign = "." if texts.signs is None else f"[{re.escape(''.join(sorted(texts.signs)))}]"
    return f"{sign}*" if texts.width is None else f"{sign}{{{texts.width}}}"
