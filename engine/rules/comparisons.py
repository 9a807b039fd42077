"""Comparisons in a job's SQL whose two sides have no order in common; Polars makes them all the same. Pure.

Invariant: what is reported here would compare digits as letters, or a moment as a count of microseconds.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from engine.rules.trees import expr_of

_COMPARE = frozenset({"Eq", "NotEq", "Lt", "LtEq", "Gt", "GtEq", "EqValidity", "NotEqValidity"})
_GREATEST = frozenset({"MaxHorizontal", "MinHorizontal"})


def unlike(tree: Any, columns: Mapping[str, pl.DataType]) -> str | None:
    """Say which kinds of values a serialised expression compares with each other though they are unlike.

    Shape: None where all comparisons are of like with like; every column of the expression is in `columns`.
    """
    for operands in _compared(tree):
        families = {_family(operand, columns) for operand in operands}
        for family in ("text", "a moment"):
            if {family, "a number"} <= families:
                return f"{family} with a number"
    return None


def _compared(node: Any) -> Iterator[Sequence[Any]]:
    """Yield the operands of every comparison in a tree."""
    match node:
        case {"BinaryExpr": {"left": left, "op": str(operator), "right": right}} if operator in _COMPARE:
            yield left, right
        case {"Function": {"input": list(inputs), "function": {"Sql": {"Binary": str(operator)}}}} if (
            operator in _COMPARE
        ):
            yield inputs
        case {"Function": {"input": list(inputs), "function": str(name)}} if name in _GREATEST:
            yield inputs
        case _:
            pass
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _compared(part)


def _family(operand: Any, columns: Mapping[str, pl.DataType]) -> str | None:
    """Return what kind of value an operand gives; None where anything may be compared with it."""
    expr = expr_of(operand)
    try:
        (dtype,) = pl.DataFrame(schema=dict(columns)).select(expr).dtypes
    except (pl.exceptions.PolarsError, ValueError):
        return None  # its own fault is told when the whole expression is tried
    if dtype == pl.String:
        return "text"
    if dtype.is_temporal():
        return "a moment"
    return "a number" if dtype.is_numeric() else None
