"""What the texts of a key tell: which columns can be read out of them, which texts can be equal. Pure.

Invariant: errs on the side of doubt. A text that could be cut in two ways tells nothing, and what isn't
proved to differ counts as able to be equal.
"""

import re
import string
from collections.abc import Mapping
from typing import TypeAlias

from engine.frozen import dataclass
from engine.job.template import Placeholder, Template
from engine.kinds import Column, Decimal, Document, Kind, RowSchema, Scalar

Columns: TypeAlias = Mapping[str, Column]
"""The columns that placeholders may name, by name. Of what isn't among them nothing is known."""

INDEX = "\0index"
"""Stands for `{index}` among the columns that a key tells."""
_DIGITS = frozenset(string.digits)
_INFINITE = frozenset("infinity")
_NUMERIC = _DIGITS | frozenset("+-.eENaInfinity")
_MOMENT = _DIGITS | _INFINITE | frozenset("-:.TZ")
_ALPHABETS: dict[Scalar, frozenset[str]] = {
    Scalar.INT: _DIGITS | {"-"},
    Scalar.NUMBER: _NUMERIC,
    Scalar.FLOAT: _NUMERIC,
    Scalar.BOOL: frozenset("truefalse"),
    Scalar.DATE: _MOMENT,
    Scalar.TIMESTAMP: _MOMENT,
    Scalar.TIMESTAMPTZ: _MOMENT,
    Scalar.TIME: _DIGITS | frozenset(":."),
    Scalar.BINARY: frozenset(string.ascii_letters + string.digits + "+/="),
}
"""The characters that canonical texts of a kind are made of; STRING has any."""
_DIGIT_DIRECTIVES = {letter: frozenset[str]() for letter in "YmdHMSyjCeGgVUWuwfs"} | {
    "F": frozenset("-"),
    "T": frozenset(":"),
    "R": frozenset(":"),
    "D": frozenset("/"),
    "e": frozenset(" "),
}
_COMPOSED = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M"}
_WIDTHS = {"Y": 4, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2, "f": 6, "%": 1}
"""How many characters a directive writes; engine/rules/formats.py writes years of four digits only."""
_WHOLE = {
    Scalar.DATE: frozenset("Ymd"),
    Scalar.TIME: frozenset("HMSf"),
    Scalar.TIMESTAMP: frozenset("YmdHMSf"),
    Scalar.TIMESTAMPTZ: frozenset("YmdHMSf"),
}
"""The directives of fixed width that together leave nothing of a value out."""
_WIDTH_MAX = 64
"""Texts of fixed width are told by it up to here; longer ones are taken for any."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What texts a placeholder can make: all their characters, None for any; their width, None for any."""

    signs: frozenset[str] | None
    width: int | None = None


_ANY = Texts(None)


def columns_of(schema: RowSchema) -> dict[str, Column]:
    """Return the columns that placeholders may name."""
    return {column.name: column for column in schema.visible}


def recovered(template: Template, columns: Columns, each: bool, *, blind: bool = False) -> dict[int, str]:
    """Return the columns (and INDEX) whose values can be read out of every text of a template.

    Shape: by the place of the placeholder that tells. A column may stand in a template twice, and only once
    where it can be told from what stands beside. `blind`: those too of whose values only the text can be
    read, not the type.
    """
    from_left = _delimited(template, columns, each, 1)
    from_right = _delimited(template[::-1], columns, each, -1)
    places = [at for at, part in enumerate(template) if isinstance(part, Placeholder)]
    # With all others cut off from both ends, what remains is the last one.
    everything = from_left + from_right + 1 >= len(places)
    readable = places if everything else places[:from_left] + places[len(places) - from_right :]
    found = {at: _identified(template[at], columns, each, blind) for at in readable}
    return {at: column for at, column in found.items() if column is not None}


def _delimited(template: Template, columns: Columns, each: bool, step: int) -> int:
    """Count the placeholders that can be read one after the other from the template's start.

    `step` is -1 when the template is given backwards, and its literals are to be read so too.
    """
    count = 0
    for part, following in zip(template, (*template[1:], None), strict=True):
        if isinstance(part, str):
            continue
        texts = texts_of(part, columns, each)
        if texts.width is None:
            if texts.signs is None or isinstance(following, Placeholder):
                return count
            if following is not None and following[::step][0] in texts.signs:
                return count
        count += 1
    return count


def _identified(part: str | Placeholder, columns: Columns, each: bool, blind: bool) -> str | None:
    """Return the column that a placeholder's text tells exactly, if it does."""
    assert isinstance(part, Placeholder), "only placeholders tell columns"
    name = _column(part, columns, each)
    if name is None:
        return None
    kind: Kind = Scalar.INT if name == INDEX else columns[name].kind
    if isinstance(kind, Document):
        return name if blind and kind.plain and part.format is None else None
    if not isinstance(kind, Scalar | Decimal):
        return None
    if part.format is None or "%" not in part.format:
        return name
    return name if isinstance(kind, Scalar) and _keeps_all(part.format, kind) else None


def _column(part: Placeholder, columns: Columns, each: bool) -> str | None:
    """Return the column that a placeholder names whole, INDEX for the element's, or None."""
    if each and part.of_element:
        return None
    if each and part.of_position:
        return INDEX
    name = ".".join(part.path)
    return name if name in columns else None


def texts_of(part: Placeholder, columns: Columns, each: bool) -> Texts:
    """Return what texts a placeholder can make."""
    if part.format is not None and "%" in part.format:
        return Texts(_format_alphabet(part.format), _format_width(part.format))
    name = _column(part, columns, each)
    if part.format is not None or name == INDEX:
        return Texts(_ALPHABETS[Scalar.INT])
    if name is None:
        return _ANY
    column = columns[name]
    if isinstance(column.kind, Decimal):
        return Texts(_NUMERIC)
    if not isinstance(column.kind, Scalar):
        return _ANY
    signs = _ALPHABETS.get(column.kind) if column.signs is None else frozenset(column.signs)
    narrow = column.width is not None and column.width <= _WIDTH_MAX
    return Texts(signs, column.width if narrow else None)


def _directives(value_format: str) -> list[tuple[str, str]]:
    """Cut a strftime format into (directive, literal), one of them empty."""
    return re.findall("%(.)|(.)", value_format, re.DOTALL)


def _format_alphabet(value_format: str) -> frozenset[str] | None:
    """Return the characters of what a strftime format writes; None when names or offsets are among it."""
    found = set(_DIGITS | {"-"})
    for directive, literal in _directives(value_format):
        if directive == "%" or literal:
            found.add(literal or "%")
        elif directive in _DIGIT_DIRECTIVES:
            found |= _DIGIT_DIRECTIVES[directive]
        else:
            return None
    return frozenset(found)


def _expanded(value_format: str) -> list[tuple[str, str]]:
    return _directives(re.sub("%(.)", lambda match: _COMPOSED.get(match[1], match[0]), value_format))


def _format_width(value_format: str) -> int | None:
    """Return how many characters a strftime format writes, where that is always the same."""
    parts = _expanded(value_format)
    if all(literal or directive in _WIDTHS for directive, literal in parts):
        return sum(1 if literal else _WIDTHS[directive] for directive, literal in parts)
    return None


def _keeps_all(value_format: str, kind: Scalar) -> bool:
    """Whether a value can be read out of what a strftime format writes of it."""
    if _format_width(value_format) is None:
        return False
    return kind in _WHOLE and _WHOLE[kind] <= {directive for directive, _ in _expanded(value_format)}


@dataclass(frozen=True, slots=True)
class _Sign:
    """One character of a template's texts, of `among` (None: any), or any number of such with `repeats`."""

    among: frozenset[str] | None
    repeats: bool = False

    def meets(self, other: "_Sign") -> bool:
        """Whether a character can be both."""
        return self.among is None or other.among is None or not self.among.isdisjoint(other.among)


def can_meet(first: Template, second: Template, columns: Columns, each: tuple[bool, bool]) -> bool:
    """Whether a text of one template may be one of the other; `each`: which of them is under `for_each`."""
    one, other = _signs(first, columns, each[0]), _signs(second, columns, each[1])
    reached, seen = [(0, 0)], {(0, 0)}
    while reached:
        at, there = reached.pop()
        if (at, there) == (len(one), len(other)):
            return True
        mine = one[at] if at < len(one) else None
        its = other[there] if there < len(other) else None
        steps = []
        if mine is not None and mine.repeats:
            steps.append((at + 1, there))
        if its is not None and its.repeats:
            steps.append((at, there + 1))
        if mine is not None and its is not None and mine.meets(its):
            steps.append((at if mine.repeats else at + 1, there if its.repeats else there + 1))
        reached += [step for step in steps if step not in seen]
        seen.update(steps)
    return False


def _signs(template: Template, columns: Columns, each: bool) -> list[_Sign]:
    found: list[_Sign] = []
    for part in template:
        if isinstance(part, str):
            found += [_Sign(frozenset(char)) for char in part]
            continue
        texts = texts_of(part, columns, each)
        single = texts.width is not None
        found += [_Sign(texts.signs, repeats=not single)] * (texts.width if texts.width is not None else 1)
    return found
