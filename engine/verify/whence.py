"""From an item's key back to the source rows that could have made it.

Invariant: a row that makes the item is among those found; where a key doesn't tell its row, all rows are
read.
"""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from engine.batch import Batch, Cursor
from engine.contracts import Lookup
from engine.errors import PermanentError
from engine.job.items import ItemRule
from engine.job.template import Placeholder
from engine.kinds import Kind
from engine.rules.uniqueness import alphabet, recovered
from engine.verify.book import Place
from engine.verify.desk import Desk
from engine.verify.digests import KeySchema
from engine.verify.values import Item

LOOKUPS_MAX = 100_000
"""Beyond so many keys, reading the whole source costs less than looking rows up."""


async def whence(desk: Desk, keys: Sequence[Item]) -> AsyncGenerator[Batch, None]:
    """Read the rows that could have made the items of these keys, and maybe others."""
    inverse = Inverse(desk)
    if inverse.complete and len(keys) <= LOOKUPS_MAX and not desk.ordered:
        found = {cursor for key in keys for cursor in inverse.cursors(key)}
        with suppress(PermanentError):  # a text that can't be such a key at all
            async with aclosing(desk.rows_of(Place(desk.number, keys=tuple(found)))) as batches:
                async for batch in batches:
                    yield batch
            return
    async with aclosing(desk.rows_of(Place(desk.number))) as batches:
        async for batch in batches:
            yield batch


class Inverse:
    """Reads the source's key out of items' keys, for rules whose templates allow it."""

    def __init__(self, desk: Desk) -> None:
        schema = desk.source.ticket.schema
        kinds = {column.name: column.kind for column in schema.visible}
        self._schema = desk.schema
        able = desk.job.transform is None and isinstance(desk.source, Lookup) and bool(schema.key)
        self._rules = [
            _inverted(rule, kinds, schema.key, desk.schema) if able else None for rule in desk.job.items
        ]

    @property
    def complete(self) -> bool:
        """Whether every rule can be read backwards."""
        return all(rule is not None for rule in self._rules)

    def cursors(self, key: Item) -> list[Cursor]:
        """Return the source keys that an item's key tells of, one for each rule that fits."""
        text = _text(key, self._schema)
        found = []
        for rule in self._rules:
            match = rule.pattern.fullmatch(text) if rule is not None else None
            if match is not None and rule is not None:
                found.append(Cursor(tuple(match[group] for group in rule.groups)))
        return found


@dataclass(frozen=True, slots=True)
class _Backwards:
    """One rule read backwards: the groups of the pattern that are the source's key, in its order."""

    pattern: re.Pattern[str]
    groups: tuple[str, ...]


_BETWEEN = "\0"
"""Stands between the partition and the sort key; no text of PostgreSQL has it."""


def _inverted(
    rule: ItemRule, kinds: dict[str, Kind], source_key: Sequence[str], schema: KeySchema
) -> _Backwards | None:
    """Return how a rule's keys tell the source's key; None when they don't."""
    each = rule.for_each is not None
    templates = dict(rule.key_templates())
    captured: dict[str, str] = {}
    texts = []
    for name in schema.names:
        readable = recovered(templates[name], kinds, each)
        text = ""
        for part in templates[name]:
            if not isinstance(part, Placeholder):
                text += re.escape(part)
                continue
            column = ".".join(part.path)
            signs = alphabet(part, kinds, each)
            body = "[^\0]*" if signs is None else f"[{re.escape(''.join(sorted(signs)))}]*"
            named = column in readable and column in source_key and column not in captured
            if named and part.format is None:
                captured[column] = f"c{len(captured)}"
                body = f"(?P<{captured[column]}>{body})"
            text += body
        texts.append(text)
    if len(captured) != len(source_key):
        return None
    pattern = re.compile(_BETWEEN.join(texts), re.DOTALL)
    return _Backwards(pattern, tuple(captured[name] for name in source_key))


def _text(key: Item, schema: KeySchema) -> str:
    return _BETWEEN.join(key[name][letter] for name, letter in zip(schema.names, schema.types, strict=True))
