"""From an item's key back to the source rows that could have made it.

Invariant: a row that makes the item is among those found; where a key doesn't tell its row, or a lookup
fails, all rows are read.
"""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from engine.batch import Batch, Cursor
from engine.commands.verify.key_patterns import pattern_of
from engine.commands.verify.opened_job import OpenedJob
from engine.commands.verify.progress_store import RowRange
from engine.contracts.readback import Item
from engine.contracts.source import KeysRefused
from engine.errors import PermanentError
from engine.frozen import dataclass
from engine.job.items import ItemRule
from engine.job.template import Placeholder
from engine.rules.key_texts import Columns, columns_of, recovered

LOOKUPS_MAX = 100_000
"""Beyond so many keys, reading the whole source costs less than looking rows up."""


class RowSearch:
    """The search for the rows that could have made the items of some keys.

    Shape: `asked` are the positions of the keys whose rows `rows` looks for: when it has come to its end, the
    source has said of each of them what it has. Of the others it says nothing.
    """

    def __init__(self, job: OpenedJob, keys: Sequence[Item]) -> None:
        self._job = job
        self._cursors: tuple[Cursor, ...] | None = None
        self.asked: frozenset[int] = frozenset(range(len(keys)))
        inversion = KeyInversion(job)
        if inversion.complete and len(keys) <= LOOKUPS_MAX and not job.ordered:
            cursors = [inversion.cursors(key) for key in keys]
            self._cursors = tuple({cursor for found in cursors for cursor in found})
            self.asked = frozenset(at for at, found in enumerate(cursors) if found)

    async def rows(self) -> AsyncGenerator[Batch, None]:
        """Read the rows that could have made the items, and maybe others."""
        if self._cursors is not None:
            rows = RowRange(self._job.number, keys=self._cursors)
            try:
                async with aclosing(self._job.rows_of(rows)) as batches:
                    async for batch in batches:
                        yield batch
            except KeysRefused:
                return  # no row has such a key, and all others were read
            except PermanentError:
                pass  # a text among them can't be such a key, which leaves open what became of the others
            else:
                return
        async with aclosing(self._job.rows_of(RowRange(self._job.number))) as batches:
            async for batch in batches:
                yield batch


class KeyInversion:
    """Reads the source's key out of items' keys, for rules whose templates allow it."""

    def __init__(self, job: OpenedJob) -> None:
        schema = job.source.ticket.schema
        columns = columns_of(schema)
        self._codec = job.codec
        able = job.job.hook is None and job.source.abilities.lookup is not None
        self._rules = [
            inverted(rule, columns, schema.key, job.info.key) if able else None for rule in job.job.items
        ]

    @property
    def complete(self) -> bool:
        """Whether every rule can be read backwards."""
        return all(rule is not None for rule in self._rules)

    def cursors(self, key: Item) -> list[Cursor]:
        """Return the source keys that an item's key tells of, one for each rule that fits."""
        texts = self._codec.key_texts(key)
        found = [None if rule is None else rule.values(texts) for rule in self._rules]
        return [Cursor(values) for values in found if values is not None]


@dataclass(frozen=True, slots=True)
class InvertedRule:
    """One rule read backwards: a pattern for each key attribute, and the groups that are the source's key.

    Each attribute is matched by itself: a text may hold any sign, so that none could stand between two.
    """

    patterns: tuple[re.Pattern[str], ...]
    groups: tuple[str, ...]

    def values(self, texts: Sequence[str]) -> tuple[str, ...] | None:
        """Return the source's key that the texts of an item's key tell; None when they aren't this rule's."""
        told: dict[str, str] = {}
        for pattern, text in zip(self.patterns, texts, strict=True):
            match = pattern.fullmatch(text)
            if match is None:
                return None
            told |= match.groupdict()
        return tuple(told[group] for group in self.groups)


def inverted(
    rule: ItemRule, columns: Columns, source_key: Sequence[str], key: Sequence[str]
) -> InvertedRule | None:
    """Return how a rule's keys tell the source's key; None when they don't."""
    each = rule.for_each is not None
    templates = dict(rule.key_templates())
    captured: dict[str, str] = {}
    patterns = []
    for name in key:
        groups: dict[int, str] = {}
        for at, column in recovered(templates[name], columns, each).items():
            part = templates[name][at]
            plain = isinstance(part, Placeholder) and part.format is None
            if plain and column in source_key and column not in captured:
                groups[at] = captured[column] = f"c{len(captured)}"
        patterns.append(pattern_of(templates[name], columns, each=each, groups=groups))
    if len(captured) != len(source_key):
        return None
    return InvertedRule(tuple(patterns), tuple(captured[name] for name in source_key))
