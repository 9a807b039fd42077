"""Apply `--set a.b=value` to a job file's data.

Invariant: only the key that is named changes; whether it is a key that jobs have is for the models to say.
"""

import re
from typing import Any

from engine.errors import JobError
from engine.job.interpolation import Path, dotted
from engine.job.yaml_core import parse_yaml

STEP = re.compile(r'\[(?P<index>[0-9]+)\]|(?P<dot>\.?)("(?P<quoted>[^"]+)"|(?P<name>[^.\[\]="\s]+))')


def apply_override(data: dict[str, Any], text: str) -> Path:
    """Change the data as `path=value` (YAML) says; return the path to what it made or replaced.

    A step of the path is a key, or in a list a position (`items[0]`, `items.0`) or an entry's name
    (`items.Order`). Mappings that aren't there yet are made.
    Raises: JobError, which doesn't repeat the value.
    """
    steps, value_text = _split(text)
    try:
        value = parse_yaml(value_text)
    except JobError as error:
        raise JobError(
            f"--set {'.'.join(steps)}: the value can't be read: {error}; put it in quotes"
        ) from error
    at: Any = data
    path: Path = ()
    made: Path = ()
    for position, step in enumerate(steps):
        last = position == len(steps) - 1
        match at:
            case dict():
                path = (*path, step)
                if last:
                    at[step] = value
                elif at.get(step) is None:
                    at[step] = {}
                    made = made or path
                at = at[step]
            case list():
                index = _index(at, step, path)
                path = (*path, index)
                if last:
                    at[index] = value
                at = at[index]
            case _:
                raise JobError(f"--set {'.'.join(steps)}: {dotted(path)} is a single value, without keys")
    return made or path


def _split(text: str) -> tuple[list[str], str]:
    """Cut `a.b[0]=value` into its steps and the value's text."""
    steps: list[str] = []
    at = 0
    while match := STEP.match(text, at):
        if match["index"] is None and bool(match["dot"]) != bool(steps):
            break
        steps.append(match["index"] or match["quoted"] or match["name"])
        at = match.end()
    if not steps or text[at : at + 1] != "=":
        raise JobError("--set: it must be path=value, such as --set target.max_wcu=1000")
    return steps, text[at + 1 :]


def _index(entries: list[Any], step: str, path: Path) -> int:
    if step.isdecimal() and int(step) < len(entries):
        return int(step)
    names = [entry.get("name") if isinstance(entry, dict) else None for entry in entries]
    if step in names:
        return names.index(step)
    known = ", ".join(str(name) for name in names if name is not None)
    raise JobError(
        f"--set {dotted(path)}: there is no entry {step!r} among {len(entries)}"
        + (f" ({known})" if known else "")
    )
