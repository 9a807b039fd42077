"""From an item's key back to the source rows that could have made it.

Invariant: a row that makes the item is among those found; where a key doesn't tell its row, or a lookup
fails, all rows are read.
"""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from engine.batch import Batch, Cursor
from engine.commands.verify.book import Place
from engine.commands.verify.desk import Desk
from engine.commands.verify.digests import KeySchema
from engine.commands.verify.values import Item
from engine.contracts.source import KeysRefused
from engine.errors import PermanentError
from engine.job.items import ItemRule
from engine.job.template import Placeholder
from engine.kinds import Kind
from engine.rules.uniqueness import alphabet, recovered

LOOKUPS_MAX = 100_000
"""Beyond so many keys, reading the whole source costs less than looking rows up."""


class Whence:
    """The search for the rows that could have made the items of some keys.

    Shape: `asked` are the positions of the keys whose rows `rows` looks for: when it has come to its end, the
    source has said of each of them what it has. Of the others it says nothing.
    """

    def __init__(self, desk: Desk, keys: Sequence[Item]) -> None:
        self._desk = desk
        self._cursors: tuple[Cursor, ...] | None = None
        self.asked: frozenset[int] = frozenset(range(len(keys)))
        inverse = Inverse(desk)
        if inverse.complete and len(keys) <= LOOKUPS_MAX and not desk.ordered:
            cursors = [inverse.cursors(key) for key in keys]
            self._cursors = tuple({cursor for found in cursors for cursor in found})
            self.asked = frozenset(at for at, found in enumerate(cursors) if found)

    async def rows(self) -> AsyncGenerator[Batch, None]:
        """Read the rows that could have made the items, and maybe others."""
        if self._cursors is not None:
            try:
                async with aclosing(self._desk.rows_of(Place(self._desk.number, keys=self._cursors))) as rows:
                    async for batch in rows:
                        yield batch
            except KeysRefused:
                return  # no row has such a key, and all others were read
            except PermanentError:
                pass  # a text among them can't be such a key, which leaves open what became of the others
            else:
                return
        async with aclosing(self._desk.rows_of(Place(self._desk.number))) as rows:
            async for batch in rows:
                yield batch


class Inverse:
    """Reads the source's key out of items' keys, for rules whose templates allow it."""

    def __init__(self, desk: Desk) -> None:
        schema = desk.source.ticket.schema
        kinds = {column.name: column.kind for column in schema.visible}
        self._schema = desk.schema
        able = desk.job.transform is None and desk.source.abilities.lookup is not None
        self._rules = [
            _inverted(rule, kinds, schema.key, desk.schema) if able else None for rule in desk.job.items
        ]

    @property
    def complete(self) -> bool:
        """Whether every rule can be read backwards."""
        return all(rule is not None for rule in self._rules)

    def cursors(self, key: Item) -> list[Cursor]:
        """Return the source keys that an item's key tells of, one for each rule that fits."""
        texts = [
            key[name][letter] for name, letter in zip(self._schema.names, self._schema.types, strict=True)
        ]
        found = [None if rule is None else rule.values(texts) for rule in self._rules]
        return [Cursor(values) for values in found if values is not None]


@dataclass(frozen=True, slots=True)
class _Backwards:
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


def _inverted(
    rule: ItemRule, kinds: dict[str, Kind], source_key: Sequence[str], schema: KeySchema
) -> _Backwards | None:
    """Return how a rule's keys tell the source's key; None when they don't."""
    each = rule.for_each is not None
    templates = dict(rule.key_templates())
    captured: dict[str, str] = {}
    patterns = []
    for name in schema.names:
        readable = recovered(templates[name], kinds, each)
        text = ""
        for part in templates[name]:
            if not isinstance(part, Placeholder):
                text += re.escape(part)
                continue
            column = ".".join(part.path)
            signs = alphabet(part, kinds, each)
            body = ".*" if signs is None else f"[{re.escape(''.join(sorted(signs)))}]*"
            named = column in readable and column in source_key and column not in captured
            if named and part.format is None:
                captured[column] = f"c{len(captured)}"
                body = f"(?P<{captured[column]}>{body})"
            text += body
        patterns.append(re.compile(text, re.DOTALL))
    if len(captured) != len(source_key):
        return None
    return _Backwards(tuple(patterns), tuple(captured[name] for name in source_key))
