"""Rules of earlier runs whose keys the job no longer makes: their items are still in the table.

Invariant: what an earlier run may have written under other keys is remembered until another table is loaded.
Of a value that came from the environment, and may be a secret, a digest is kept: it is put back as long as
the variable has it. Pure but for the environment.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from engine.contracts.state import RunState
from engine.job.items import ItemRule
from engine.masking import may_be_secret

_NUMBER = "number"
_HIDDEN = re.compile("\0(?P<name>[A-Za-z_][A-Za-z0-9_]*):(?P<digest>[0-9a-f]{16})\0")
"""What stands for a value: no text of a job file holds a NUL."""


def dumped(rules: Sequence[ItemRule], variables: Mapping[str, str]) -> str:
    """Return rules as the text that a checkpoint keeps. `variables`: values from the environment, by name."""
    data = [rule.model_dump(by_alias=True, exclude={"unique"}) for rule in rules]
    longest = sorted(variables.items(), key=lambda each: -len(each[1]))
    hidden = {value: f"\0{name}:{_digest(value)}\0" for name, value in longest if may_be_secret(value)}
    if hidden:
        values = re.compile("|".join(map(re.escape, hidden)))
        data = _mapped(data, lambda text: values.sub(lambda match: hidden[match[0]], text))
    return json.dumps(data, default=_plain)


def restored(text: str, environment: Mapping[str, str] = os.environ) -> tuple[ItemRule, ...]:
    """Return the rules of a kept text, equal to those that were dumped while their variables are the same.

    What is hidden for good stands there as a text that is in no item: `${NAME}`.
    """

    def shown(match: re.Match[str]) -> str:
        value = environment.get(match["name"])
        return (
            value if value is not None and _digest(value) == match["digest"] else f"${{{{{match['name']}}}}}"
        )

    data = _mapped(json.loads(text), lambda each: _HIDDEN.sub(shown, each))
    return tuple(ItemRule.model_validate(_exact(rule)) for rule in data)


def hidden_for_good(text: str, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the variables that no longer have the values which a kept text needs."""
    data = json.loads(text)
    found: dict[str, None] = {}
    _mapped(data, lambda each: found.update({m["name"]: None for m in _gone(each, environment)}) or each)
    return list(found)


def former_rules(before: RunState | None, now: Sequence[ItemRule]) -> tuple[str, ...]:
    """Return, of the rules of a run and those before it, what makes keys that today's rules don't.

    Shape: a text for each job that was, as `dumped` gives it, the oldest first.
    """
    if before is None:
        return ()
    made = {_keys(rule) for rule in now}
    kept: list[str] = []
    for text in (*before.former, *(() if before.rules is None else (before.rules,))):
        pairs = zip(json.loads(text), restored(text), strict=True)
        other = json.dumps([data for data, rule in pairs if _keys(rule) not in made])
        if other not in ("[]", *kept):
            kept.append(other)
    return tuple(kept)


def told(before: RunState, former: Sequence[str], job: str) -> str:
    """Say what a load under other keys leaves in the table. `former`: as `former_rules` gives it."""
    names = [f"{rule.name} ({_templates(rule)})" for text in former for rule in restored(text, {})]
    written = before.counts.items_written
    return (
        f"Items of earlier keys stay in the table beside the new ones: {', '.join(names)}; the last run wrote"
        f" {written:,} items. `backfill verify --full` on {job} counts those that are there, and with"
        " `--repair --delete-extra` it removes those that are still as their rows make them."
    )


def _gone(text: str, environment: Mapping[str, str]) -> list[re.Match[str]]:
    return [m for m in _HIDDEN.finditer(text) if _digest(environment.get(m["name"], "")) != m["digest"]]


def _mapped(data: Any, change: Callable[[str], str]) -> Any:
    """Change every text in plain data, but for names."""
    if isinstance(data, dict):
        return {name: _mapped(value, change) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_mapped(value, change) for value in data]
    return change(data) if isinstance(data, str) else data


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:16]


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
