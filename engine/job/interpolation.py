"""Put environment variables into the texts of a job: `${VAR}`, `${VAR:-default}`; `$${` is `${`.

Invariant: an error names the variable and the job key, never a value.
"""

import re
from collections.abc import Mapping
from typing import Any

from engine.errors import JobError

REFERENCE = re.compile(r"\$\$\{|\$\{(?P<inside>[^}]*)(?P<end>\}?)")
INSIDE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(:-(?P<default>[^$]*))?")
"""Source: POSIX.1-2017, Shell Command Language 2.6.2, of which this is the part for defaults."""

PUT_IN_CHARS_MAX = 20_000_000

Path = tuple[str | int, ...]


def dotted(path: Path) -> str:
    """Write a path as users do: `items[0].key.SK`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if re.fullmatch(r"[^.\[\]\"=\s]+", part) else f'"{part}"'
            text += f".{name}" if text else name
    return text


class Interpolation:
    """One pass over a job's data.

    `used` leads from the values put in to their references, `variables` from their names to them.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.used: dict[str, str] = {}
        self.variables: dict[str, str] = {}
        self._put_in = 0

    def __call__(self, data: Any, path: Path = ()) -> Any:
        """Return the data with every reference in a text value replaced; keys stay as they are.

        Raises: JobError.
        """
        match data:
            case dict():
                return {key: self(value, (*path, key)) for key, value in data.items()}
            case list():
                return [self(value, (*path, position)) for position, value in enumerate(data)]
            case str():
                return REFERENCE.sub(lambda match: self._value(match, path), data)
            case _:
                return data

    def _value(self, match: re.Match[str], path: Path) -> str:
        if match["inside"] is None:
            return "${"
        inside = INSIDE.fullmatch(match["inside"])
        if inside is None or not match["end"]:
            raise JobError(
                f"{dotted(path)}: a '${{' that doesn't begin ${{VARIABLE}} or ${{VARIABLE:-default}}; "
                "a literal one is written '$${'"
            )
        name, default = inside["name"], inside["default"]
        value = self._env.get(name)
        if default is not None and not value:
            return default
        if value is None:
            raise JobError(
                f"{dotted(path)}: the environment variable {name} isn't set; set it, "
                f"or write ${{{name}:-default}}, or '$${{' for a literal '${{'"
            )
        self._put_in += len(value)
        if self._put_in > PUT_IN_CHARS_MAX:
            raise JobError(
                f"{dotted(path)}: with {name} the variables put in come to more than {PUT_IN_CHARS_MAX:,}"
                " characters; a job holds no data"
            )
        self.used[value] = f"${{{name}}}"
        self.variables[name] = value
        return value
