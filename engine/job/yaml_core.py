"""Read YAML so that a text stays what the user wrote.

Invariant: keys are always text (`on`, `no`, `1`); of plain scalars only JSON's numbers, `true`, `false` and
`null` (`~`, nothing) in YAML 1.2's spellings are more than text, so `no`, `2024-01-01`, `0123` and `12:30`
aren't touched. A key that stands twice in a mapping is an error.
Source: YAML 1.2.2, section 10.3 (core schema), numbers narrowed to RFC 8259's.
"""

import re
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, NoReturn

import yaml

from engine.errors import JobError

TAG = "tag:yaml.org,2002:"
HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")
HALF_CHARACTER_FAULT = (
    "an escape such as \\ud83d is half a character; write the character itself, or \\U0001f600"
)
INT_CHARS_MAX = 100
"""Longer ones fit no key of a job; int() refuses them by length."""
EXPANDED_CHARS_MAX = 20_000_000
"""What a file may come to when every alias is what it stands for: lists of ten, ten deep, are 10¹⁰."""
VALUE_CHARS = 50
"""What any value counts at least: it becomes an object or several."""
NUMBER_STARTS = list("-0123456789")


class _CoreLoader(yaml.SafeLoader):
    """A safe loader with its own few types."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's stubs say so
    yaml_constructors: ClassVar[dict[Any, Any]] = {}

    def mapping(self, node: yaml.Node) -> dict[str, Any]:
        """Build a mapping with text keys."""
        if not isinstance(node, yaml.MappingNode):
            raise _fault(node, "a mapping was announced, but something else follows")
        built: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _fault(key, "a key must be plain text; quote it if it has brackets or braces")
            if HALF_CHARACTER.search(key.value):
                raise _fault(key, HALF_CHARACTER_FAULT)
            if key.value in built:
                raise _fault(key, f"the key {key.value!r} stands here twice; keep one of them")
            built[key.value] = self.construct_object(value, deep=True)
        return built

    def sequence(self, node: yaml.Node) -> list[Any]:
        """Build a list."""
        if not isinstance(node, yaml.SequenceNode):
            raise _fault(node, "a list was announced, but something else follows")
        return [self.construct_object(value, deep=True) for value in node.value]

    def scalar(self, node: yaml.Node) -> Any:
        """Build a scalar of one of the core types."""
        if not isinstance(node, yaml.ScalarNode):
            raise _fault(node, "a single value was announced, but something else follows")
        text: str = node.value
        match node.tag.removeprefix(TAG):
            case "null":
                return None
            case "bool" if text.lower() in ("true", "false"):
                return text.lower() == "true"
            case "int" if INTEGER.fullmatch(text):
                return int(text) if len(text) <= INT_CHARS_MAX else Decimal(text)
            case "float" if NUMBER.fullmatch(text):
                return _decimal(node, text)
            case "str" if HALF_CHARACTER.search(text):
                raise _fault(node, HALF_CHARACTER_FAULT)
            case "str":
                return text
            case kind:
                raise _fault(node, f"this isn't of the type that is written before it, {kind}")

    def other(self, node: yaml.Node) -> NoReturn:
        """Refuse every other type."""
        raise _fault(node, f"the type {node.tag} isn't one that a job file can have; leave it out")


INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_RESOLVERS = (
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    ("int", re.compile(rf"({INTEGER.pattern})\Z"), NUMBER_STARTS),
    ("float", re.compile(rf"({NUMBER.pattern})\Z"), NUMBER_STARTS),
)
for _kind, _pattern, _starts in _RESOLVERS:
    _CoreLoader.add_implicit_resolver(TAG + _kind, re.compile(rf"({_pattern.pattern})\Z"), _starts)
for _kind in ("null", "bool", "int", "float", "str"):
    _CoreLoader.add_constructor(TAG + _kind, _CoreLoader.scalar)
_CoreLoader.add_constructor(TAG + "map", _CoreLoader.mapping)
_CoreLoader.add_constructor(TAG + "seq", _CoreLoader.sequence)
_CoreLoader.add_constructor(None, _CoreLoader.other)


def parse_yaml(text: str) -> Any:
    """Read one YAML document into dicts with text keys, lists, str, int, Decimal, bool and None.

    Raises: JobError with line and column; no part of the text is repeated but a duplicate key.
    """
    try:
        data = yaml.load(text, Loader=_CoreLoader)  # noqa: S506 - it is a SafeLoader
        expanded = _expanded(data, {})
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = error.problem or error.context or "something is missing"
        raise JobError(f"{place}not valid YAML: {problem}") from error
    except yaml.YAMLError as error:
        raise JobError("not valid YAML: it holds a character that YAML doesn't allow") from error
    except RecursionError as error:
        raise JobError("not valid YAML: it is nested too deeply, or an alias holds itself") from error
    if expanded > EXPANDED_CHARS_MAX:
        raise JobError(
            "its aliases (`*name`) stand for more than a job can hold; write out what they stand for"
        )
    return data


def _expanded(value: Any, known: dict[int, int]) -> int:
    """Return about how many characters a value is with its aliases expanded. `known`: by id."""
    if isinstance(value, str):
        return max(VALUE_CHARS, len(value))
    if not isinstance(value, dict | list):
        return VALUE_CHARS
    if id(value) not in known:
        parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        known[id(value)] = VALUE_CHARS + sum(_expanded(part, known) for part in parts)
    return known[id(value)]


def _decimal(node: yaml.Node, text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise _fault(node, "this number's exponent is beyond all bounds; quote it if it is a text") from error


def _fault(node: yaml.Node, what: str) -> JobError:
    return JobError(f"line {node.start_mark.line + 1}, column {node.start_mark.column + 1}: {what}")
