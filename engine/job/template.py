"""Templates such as `USER#{user_id}`: text in, a tuple of literals and placeholders out. Pure.

Invariant: a template that parsed has no empty literal, no two literals side by side and only formats that
the transform can apply to some kind of value.
"""

import re
from typing import TypeAlias

from engine.errors import JobError
from engine.frozen import dataclass

INTEGER_FORMAT = re.compile(r"0[1-9][0-9]?d")
"""Zero-padded integers, up to 99 digits wide; Source: Python's format specification mini-language."""

EACH, INDEX = "each", "index"
"""The names by which templates reach the element under `for_each`, and its position."""

STRFTIME_DIRECTIVES = frozenset("aAbBdDeFfGgHIjmMpRsSTuUVwWyYzZ%")
"""Directives whose meaning doesn't depend on a locale's order of parts. Source: C99 strftime, POSIX `%s`."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One `{…}`: the path to a value, and the text after the first colon.

    Shape: `path` is `("user_id",)`, `("profile", "firstName")`, `("each", "type")`, `("index",)`; `format` is
    None, a strftime pattern (it holds a `%`) or an integer format such as `03d`. `column`: the name stands in
    quotes, so that it is a column, though it is EACH or INDEX.
    """

    path: tuple[str, ...]
    format: str | None
    column: bool = False

    @property
    def of_element(self) -> bool:
        """Whether it means the element under `for_each`, or what is in it."""
        return self.path[0] == EACH and not self.column

    @property
    def of_position(self) -> bool:
        """Whether it means the element's position, in a rule with `for_each`."""
        return self.path == (INDEX,) and not self.column


Template: TypeAlias = tuple[str | Placeholder, ...]


def parse(text: str) -> Template:
    """Cut a template's text into literals and placeholders; `{{` and `}}` are braces.

    Names hold any character but `{ } : . "`, or stand in double quotes (`{"we.ird"}`, a quote doubled); in
    quotes a name is a column's always, `{"each"}` and `{"index"}` too.
    Ordering: as in the text.
    Raises: JobError with the place, counted in characters from 1.
    """
    parts: list[str | Placeholder] = []
    literal: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char in "{}" and text[at : at + 2] == char * 2:
            literal.append(char)
            at += 2
        elif char == "{":
            if literal:
                parts.append("".join(literal))
                literal.clear()
            placeholder, at = _placeholder(text, at)
            parts.append(placeholder)
        elif char == "}":
            raise _error(at, "a '}' that closes nothing; a literal brace is written '}}'")
        else:
            literal.append(char)
            at += 1
    if literal:
        parts.append("".join(literal))
    return tuple(parts)


def single(template: Template) -> Placeholder | None:
    """Return the placeholder if the template is exactly one and nothing else: it keeps its value's type."""
    if len(template) == 1 and isinstance(template[0], Placeholder):
        return template[0]
    return None


def placeholders(template: Template) -> tuple[Placeholder, ...]:
    """Return the placeholders of a template, in their order."""
    return tuple(part for part in template if isinstance(part, Placeholder))


def _placeholder(text: str, start: int) -> tuple[Placeholder, int]:
    """Read the placeholder whose brace stands at `start`; return it and the place behind it."""
    path: list[str] = []
    at = start + 1
    quoted = text[at : at + 1] == '"'
    while True:
        name, at = _name(text, at, start)
        path.append(name)
        match text[at : at + 1]:
            case "}":
                return Placeholder(tuple(path), None, quoted and path[0] in (EACH, INDEX)), at + 1
            case ":":
                value_format, at = _format(text, at + 1, start)
                return Placeholder(tuple(path), value_format, quoted and path[0] in (EACH, INDEX)), at
            case ".":
                at += 1
            case "":
                raise _unclosed(start)
            case _:
                raise _error(at, "nothing but '.', ':' or '}' may follow a name")


def _name(text: str, at: int, start: int) -> tuple[str, int]:
    """Read one name of a path, bare or quoted; return it and the place behind it."""
    if text[at : at + 1] == '"':
        return _quoted(text, at, start)
    end = at
    while end < len(text) and text[end] not in '{}:."':
        end += 1
    if text[end : end + 1] == "{":
        raise _error(end, "a brace inside a placeholder; a name that holds one is written in double quotes")
    name = text[at:end]
    if end == len(text):
        raise _unclosed(start)
    if not name:
        raise _error(at, "a placeholder without a name; write {column}, or '{{' for a literal brace")
    if name != name.strip():
        raise _error(at, "spaces around a name; leave them out, or put the name in double quotes")
    return name, end


def _quoted(text: str, at: int, start: int) -> tuple[str, int]:
    """Read a name in double quotes, where a doubled quote is one."""
    name: list[str] = []
    end = at + 1
    while end < len(text):
        if text[end] != '"':
            name.append(text[end])
            end += 1
        elif text[end : end + 2] == '""':
            name.append('"')
            end += 2
        elif name:
            return "".join(name), end + 1
        else:
            raise _error(at, "an empty name in quotes")
    raise _unclosed(start)


def _format(text: str, at: int, start: int) -> tuple[str, int]:
    """Read and check the format that starts at `at`; return it and the place behind its brace."""
    end = at
    while end < len(text) and text[end] not in "{}":
        end += 1
    if end == len(text):
        raise _unclosed(start)
    if text[end] == "{":
        raise _error(end, "a brace inside a format")
    value_format = text[at:end]
    if "%" in value_format:
        _check_strftime(value_format, at)
    elif not INTEGER_FORMAT.fullmatch(value_format):
        raise _error(
            at,
            f"the format {value_format!r} isn't known; use strftime such as %Y-%m-%d for dates and times, "
            "or 03d for integers",
        )
    return value_format, end + 1


def _check_strftime(value_format: str, at: int) -> None:
    """Refuse directives that the transform can't honour."""
    index = value_format.find("%")
    while index >= 0:
        directive = value_format[index + 1 : index + 2]
        if directive not in STRFTIME_DIRECTIVES:
            raise _error(
                at + index, f"the strftime directive '%{directive}' isn't known; a percent sign is '%%'"
            )
        index = value_format.find("%", index + 2)


def _unclosed(start: int) -> JobError:
    return _error(start, "a '{' that is never closed; a literal brace is written '{{'")


def _error(at: int, what: str) -> JobError:
    return JobError(f"at character {at + 1}: {what}")
