"""Pieces of a job file as text: names, templates and quoted values. Pure.

Invariant: whatever a name holds, the job file reads it back as that name.
"""

import json
import re
from collections.abc import Iterable, Mapping

from engine.job.template import EACH, INDEX
from engine.masking import visible

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_SPECIAL = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_BARE_NAME = re.compile(r'[^{}:."\s]+')
_FORBIDDEN_IN_JOB = re.compile(r"[^a-z0-9_-]+")


def quoted(text: str) -> str:
    """Write a value so that YAML and the environment's variables leave it as it is."""
    text = text.replace("${", "$${")
    if _PLAIN.fullmatch(text) and text.lower() not in _SPECIAL:
        return text
    return _in_quotes(text)


def placeholder(name: str) -> str:
    """Write the placeholder of a column or a path."""
    bare = _BARE_NAME.fullmatch(name) and name not in (EACH, INDEX)
    return f"{{{name}}}" if bare else '{"' + name.replace('"', '""') + '"}'


def literal(text: str) -> str:
    """Write text as it stands in a template."""
    return text.replace("{", "{{").replace("}", "}}")


def listed(names: Iterable[str]) -> str:
    """Write a list of names in one line."""
    return f"[{', '.join(quoted(name) for name in names)}]"


def mapped(pairs: Mapping[str, str]) -> str:
    """Write a mapping of names to text in one line; the texts are templates, so always quoted."""
    return f"{{{', '.join(f'{quoted(name)}: {template(text)}' for name, text in pairs.items())}}}"


def template(text: str) -> str:
    """Write a template as a value, always in quotes."""
    return _in_quotes(text.replace("${", "$${"))


def _in_quotes(text: str) -> str:
    """Write text in double quotes; whatever a terminal would obey is an escape, which YAML reads back."""
    return visible(json.dumps(text, ensure_ascii=False))


def job_name(name: str) -> str:
    """Return a job's name like a table's."""
    return _FORBIDDEN_IN_JOB.sub("-", name.lower()).strip("-") or "load"


def unused(name: str, taken: Iterable[str]) -> str:
    """Return the name with as many underscores before it as it takes to be a new one."""
    taken = frozenset(taken)
    while name in taken:
        name = f"_{name}"
    return name


def comment(text: str) -> str:
    """Make text safe to stand in a comment, which ends with its line."""
    return "".join(char if char.isprintable() else "?" for char in text)
