"""Rules of earlier runs whose keys the job no longer makes: their items are still in the table.

Invariant: what an earlier run may have written under other keys is remembered until another table is loaded.
Pure.
"""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from engine.contracts.state import RunState
from engine.job.items import ItemRule

_NUMBER = "number"


def dumped(rules: Sequence[ItemRule]) -> str:
    """Return rules as the text that a checkpoint keeps."""
    return json.dumps([rule.model_dump(by_alias=True, exclude={"unique"}) for rule in rules], default=_plain)


def restored(text: str) -> tuple[ItemRule, ...]:
    """Return the rules of a kept text, equal to those that were dumped."""
    return tuple(ItemRule.model_validate(_exact(rule)) for rule in json.loads(text))


def former_rules(before: RunState | None, now: Sequence[ItemRule]) -> tuple[str, ...]:
    """Return, of the rules of a run and those before it, what makes keys that today's rules don't.

    Shape: a text for each job that was, as `dumped` gives it, the oldest first.
    """
    if before is None:
        return ()
    made = {_keys(rule) for rule in now}
    kept: list[str] = []
    for text in (*before.former, *(() if before.rules is None else (before.rules,))):
        other = [rule for rule in restored(text) if _keys(rule) not in made]
        if other and dumped(other) not in kept:
            kept.append(dumped(other))
    return tuple(kept)


def told(before: RunState, former: Sequence[str], job: str) -> str:
    """Say what a load under other keys leaves in the table. `former`: as `former_rules` gives it."""
    names = [f"{rule.name} ({_templates(rule)})" for text in former for rule in restored(text)]
    written = before.counts.items_written
    return (
        f"Items of earlier keys stay in the table beside the new ones: {', '.join(names)}; the last run wrote"
        f" {written:,} items. `backfill verify --full` on {job} counts those that are there, and with"
        " `--repair --delete-extra` it removes those that are still as their rows make them."
    )


def _keys(rule: ItemRule) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    return rule.for_each, tuple(sorted(rule.key.items()))


def _templates(rule: ItemRule) -> str:
    return ", ".join(f"{name} {text}" for name, text in rule.key.items())


def _plain(value: Any) -> Any:
    assert isinstance(value, Decimal), f"no text for {type(value).__name__}"
    return {_NUMBER: str(value)}


def _exact(rule: dict[str, Any]) -> dict[str, Any]:
    """Return a rule with its literal numbers as they were: no attribute is a mapping with that key alone."""
    attributes = {
        name: Decimal(value[_NUMBER]) if isinstance(value, dict) and _NUMBER in value else value
        for name, value in rule["attributes"].items()
    }
    return {**rule, "attributes": attributes}
