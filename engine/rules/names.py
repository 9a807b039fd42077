"""Names of columns and fields as Polars takes them: `*` and `^…$` are patterns to it, and names to us.

Invariant: in a frame that rules work on, no column bears a name that Polars would read as a pattern; what
users see (schemas, messages, a hook's frame) bears the source's own.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from engine.rules.sql_text import checked
from engine.rules.trees import expr_of, tree_of

_NAMED = "\0named:"
"""What stands before a name that would be a pattern; no source can name a column so."""

WILDCARD = "*"


def is_pattern(name: str) -> bool:
    """Say whether Polars takes a name for a pattern. Source: Polars manual, `polars.col`."""
    return name == WILDCARD or (name.startswith("^") and name.endswith("$"))


def frame_name(name: str) -> str:
    """Return what a column of this name is called in a frame."""
    return _NAMED + name if is_pattern(name) else name


def source_name(name: str) -> str:
    """Return what a frame's column is called in the source."""
    return name.removeprefix(_NAMED)


def column(name: str) -> pl.Expr:
    """Return the column of exactly this name."""
    return pl.col(frame_name(name))


def framed(frame: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """Give a frame's columns the names that they have in frames."""
    return frame.rename({name: frame_name(name) for name in names if is_pattern(name)})


def unframed(frame: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """Give a frame's columns the names that they have in the source."""
    return frame.rename({frame_name(name): name for name in names if is_pattern(name)})


def field(expr: pl.Expr, name: str, names: Sequence[str]) -> pl.Expr:
    """Return the field of exactly this name of a struct whose fields are `names`."""
    if not is_pattern(name):
        return expr.struct.field(name)
    places = [str(place) for place in range(len(names))]
    return expr.struct.rename_fields(places).struct.field(places[names.index(name)])


def parsed(text: str) -> pl.Expr:
    """Parse an SQL expression; every name in it is a column's exact name, as it is called in frames.

    Raises: JobError for a query, or more than can be looked through; polars.exceptions.PolarsError when it
    doesn't parse.
    """
    expr = pl.sql_expr(checked(text))
    tree = tree_of(expr)
    named = _named(tree)
    return expr if named == tree else expr_of(named)


def _named(node: Any) -> Any:
    """Put columns in the place of the patterns that Polars has made of names."""
    match node:
        case {"Selector": {"Matches": name}}:
            return {"Column": frame_name(name)}
        case {"Selector": "Wildcard"}:
            return {"Column": frame_name(WILDCARD)}
        case {"Literal": _}:
            return node
        case dict():
            return {key: _named(value) for key, value in node.items()}
        case list():
            return [_named(value) for value in node]
        case _:
            return node
