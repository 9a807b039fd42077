"""The part of DynamoDB's expressions that loads and checks use: conditions over whole attributes. Pure.

Comparisons, BETWEEN, AND, OR, NOT, parentheses, attribute_exists, attribute_not_exists, begins_with. Document
paths and update expressions are not here: they are refused as a syntax error.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from bench.simulator.errors import ApiError, invalid
from bench.simulator.schema import Item
from bench.simulator.values import check, comparable

Value: TypeAlias = Mapping[str, Any]

_TOKEN: Final = re.compile(r"\s*(<>|<=|>=|[=<>(),]|[#:]?[A-Za-z_][A-Za-z0-9_\-]*|[#:][A-Za-z0-9_]+|\S)")
_WORD: Final = re.compile(r"[#:]?[A-Za-z0-9_\-]+")
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ORDERED: Final = frozenset({"S", "N", "B"})


@dataclass(frozen=True, slots=True)
class AttributePath:
    """An operand that is looked up in the item."""

    name: str


Operand: TypeAlias = AttributePath | Value


@dataclass(frozen=True, slots=True)
class Test:
    """One comparison or function. Shape: `operands` as written, `a BETWEEN b AND c` has three."""

    operation: str
    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Combined:
    """AND, OR or NOT of other conditions."""

    operation: str
    parts: tuple["Condition", ...]


Condition: TypeAlias = Test | Combined


class Names:
    """ExpressionAttributeNames and -Values of a request, which must all be used."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._names: Mapping[str, str] = request.get("ExpressionAttributeNames") or {}
        self._values: Mapping[str, Value] = request.get("ExpressionAttributeValues") or {}
        self._used: set[str] = set()
        for said in ("Names", "Values"):
            if request.get(f"ExpressionAttribute{said}") == {}:
                raise invalid(f"ExpressionAttribute{said} must not be empty")
        for value in self._values.values():
            check(value)

    def operand(self, word: str, where: str) -> Operand:
        """Return what a word of the expression `where` stands for."""
        self._used.add(word)
        if word.startswith("#"):
            if word not in self._names:
                raise invalid(
                    f"Invalid {where}: An expression attribute name used in the document path is not "
                    f"defined; attribute name: {word}"
                )
            return AttributePath(self._names[word])
        if word.startswith(":"):
            if word not in self._values:
                raise invalid(
                    f"Invalid {where}: An expression attribute value used in expression is not defined; "
                    f"attribute value: {word}"
                )
            return self._values[word]
        return AttributePath(word)

    def close(self) -> None:
        """Refuse names and values that no expression used."""
        for said, given in (("Names", self._names), ("Values", self._values)):
            unused = [name for name in given if name not in self._used]
            if unused:
                raise invalid(
                    f"Value provided in ExpressionAttribute{said} unused in expressions: "
                    f"keys: {{{', '.join(unused)}}}"
                )


def parse(request: Mapping[str, Any], where: str, names: Names) -> Condition | None:
    """Return the condition under one key of a request, such as ConditionExpression."""
    text = request.get(where)
    if text is None:
        return None
    if not text.strip():
        raise invalid(f"Invalid {where}: The expression can not be empty;")
    return _Parser(text, where, names).whole()


def projection(request: Mapping[str, Any], names: Names) -> list[str] | None:
    """Return the attributes of ProjectionExpression; None: all."""
    text = request.get("ProjectionExpression")
    if text is None:
        return None
    operands = [names.operand(word.strip(), "ProjectionExpression") for word in text.split(",")]
    return [operand.name for operand in operands if isinstance(operand, AttributePath)]


def holds(condition: Condition | None, item: Item | None) -> bool:
    """Tell whether an item, or its absence, meets a condition."""
    if condition is None:
        return True
    if isinstance(condition, Combined):
        if condition.operation == "NOT":
            return not holds(condition.parts[0], item)
        test = any if condition.operation == "OR" else all
        return test(holds(part, item) for part in condition.parts)
    values = [_value(operand, item or {}) for operand in condition.operands]
    match condition.operation:
        case "attribute_exists":
            return values[0] is not None
        case "attribute_not_exists":
            return values[0] is None
        case "BETWEEN":
            return _compare(values[0], values[1], ">=") and _compare(values[0], values[2], "<=")
        case "begins_with":
            return _begins(*values)
        case comparison:
            return _compare(values[0], values[1], comparison)


def conjunction(condition: Condition) -> Iterator[Test]:
    """Give the tests that a key condition joins with AND."""
    match condition:
        case Test():
            yield condition
        case Combined("AND", parts):
            for part in parts:
                yield from conjunction(part)
        case _:
            raise invalid("Invalid operator used in KeyConditionExpression: " + condition.operation)


def _value(operand: Operand, item: Item) -> Value | None:
    return item.get(operand.name) if isinstance(operand, AttributePath) else operand


def _compare(left: Value | None, right: Value | None, comparison: str) -> bool:
    if left is None or right is None:
        return comparison == "<>"
    [left_kind], [right_kind] = left, right
    if left_kind != right_kind:
        return comparison == "<>"
    if left_kind in _ORDERED:
        return _COMPARE[comparison](comparable(left), comparable(right))
    if left_kind in ("SS", "NS", "BS"):
        equal = set(left[left_kind]) == set(right[right_kind])
    else:
        equal = left == right
    return comparison in ("=", "<=", ">=") if equal else comparison == "<>"


def _begins(value: Value | None, start: Value | None) -> bool:
    if value is None or start is None or [*value] != [*start] or "N" in value:
        return False
    whole, part = comparable(value), comparable(start)
    return bool(whole[: len(part)] == part)


class _Parser:
    """Recursive descent: OR over AND over NOT over tests."""

    def __init__(self, text: str, where: str, names: Names) -> None:
        self._tokens = _TOKEN.findall(text)
        self._at = 0
        self._where = where
        self._names = names

    def whole(self) -> Condition:
        condition = self._any()
        if self._peek() is not None:
            raise self._error()
        return condition

    def _any(self) -> Condition:
        parts = [self._all()]
        while self._accept("OR"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Combined("OR", tuple(parts))

    def _all(self) -> Condition:
        parts = [self._one()]
        while self._accept("AND"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else Combined("AND", tuple(parts))

    def _one(self) -> Condition:
        if self._accept("NOT"):
            return Combined("NOT", (self._one(),))
        if self._accept("("):
            inside = self._any()
            self._expect(")")
            return inside
        function = self._peek()
        if function in ("attribute_exists", "attribute_not_exists", "begins_with"):
            self._at += 1
            self._expect("(")
            operands = [self._operand()]
            if function == "begins_with":
                self._expect(",")
                operands.append(self._operand())
            self._expect(")")
            return Test(function, tuple(operands))
        left = self._operand()
        if self._accept("BETWEEN"):
            low = self._operand()
            self._expect("AND")
            return Test("BETWEEN", (left, low, self._operand()))
        comparison = self._peek() or ""
        if comparison not in _COMPARE:
            raise self._error()
        self._at += 1
        return Test(comparison, (left, self._operand()))

    def _operand(self) -> Operand:
        word = self._peek()
        if word is None or not _WORD.fullmatch(word):
            raise self._error()
        self._at += 1
        return self._names.operand(word, self._where)

    def _peek(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _accept(self, word: str) -> bool:
        found = (self._peek() or "").upper() == word
        self._at += found
        return found

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            raise self._error()

    def _error(self) -> ApiError:
        token = self._peek() or "<EOF>"
        near = " ".join(self._tokens[max(0, self._at - 1) : self._at + 2])
        return invalid(f'Invalid {self._where}: Syntax error; token: "{token}", near: "{near}"')
