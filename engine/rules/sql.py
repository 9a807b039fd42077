"""SQL expressions of a job: parsed, proved to look at one row at a time, evaluated over typed columns.

Invariant: the result for a row doesn't depend on which other rows are in its batch; nothing but the row is
looked at, and what that costs is bounded (sql_text.py, sql_growth.py).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import polars as pl

from engine.errors import JobError
from engine.frozen import dataclass
from engine.kinds import Kind
from engine.rules.comparisons import unlike
from engine.rules.names import frame_name, parsed, source_name
from engine.rules.paths import nearest
from engine.rules.sql_growth import unbounded
from engine.rules.sql_text import brief
from engine.rules.trees import expr_of, tree_of
from engine.rules.typed import canonical

_RESULT = "\0result"
_BY_ROW = frozenset(
    {"StringExpr", "BinaryExpr", "TemporalExpr", "ListExpr", "ArrayExpr", "StructExpr", "Sql"}
    | {"Coalesce", "MaxHorizontal", "MinHorizontal", "FillNull"}
    | {"Abs", "Negate", "Sign", "Round", "RoundSF", "Floor", "Ceil", "Clip"}
    | {"Trigonometry", "Pow", "Log", "Log1p", "Exp"}
)
_BOOLEAN_BY_ROW = frozenset(
    {"IsNull", "IsNotNull", "IsNan", "IsNotNan", "IsFinite", "IsInfinite"}
    | {"IsIn", "IsBetween", "IsClose", "Not", "AllHorizontal", "AnyHorizontal"}
)
_ACROSS_ROWS = frozenset({"ConcatVertical", "Sample"})
_ARITHMETIC = ('"Plus"', '"Minus"', '"Multiply"', '"Mul"', '"Pow"', '"Negate"', '"Abs"')
_INTEGERS = frozenset({"Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"})
_TEMPORAL = ("Date", "Datetime", "Time")
_GUESSED_FORMAT = "a date's format guessed from the first row (give it: STRPTIME(column, '%Y-%m-%d'))"


@dataclass(frozen=True, slots=True)
class CompiledSql:
    """A compiled expression: `expr` over the typed columns named in `columns`, giving values of `kind`.

    Shape: `expr` gives canonical text; a condition gives Boolean. `wraps` says where an integer on the way
    leaves 64 bits, which Polars lets happen in silence; None where no integers are reckoned with.
    """

    expr: pl.Expr
    dtype: pl.DataType
    kind: Kind
    columns: frozenset[str]
    wraps: pl.Expr | None


def compiled(text: str, columns: Mapping[str, pl.DataType], name: str) -> CompiledSql:
    """Compile an expression over typed columns.

    Raises: JobError when it doesn't parse, names an unknown column, mixes rows, or gives what has no text.
    """
    types = _framed(columns)
    with _depth_told(text):
        expr, dtype = _checked(text, types)
        canonical_expr, kind = canonical(expr, dtype, name)
        return CompiledSql(canonical_expr, dtype, kind, _sources(expr), _wraps(expr, types))


def condition(text: str, columns: Mapping[str, pl.DataType]) -> CompiledSql:
    """Compile an expression that must be true or false."""
    types = _framed(columns)
    with _depth_told(text):
        expr, dtype = _checked(text, types)
        if not isinstance(dtype, pl.Boolean | pl.Null):
            raise JobError(
                f"{brief(text)} gives values of type {dtype}, not true or false; make it a comparison"
            )
        _, kind = canonical(expr, pl.Boolean(), text)
        boolean = expr.cast(pl.Boolean)
        return CompiledSql(boolean, pl.Boolean(), kind, _sources(expr), _wraps(boolean, types))


def evaluated(frame: pl.DataFrame, expr: pl.Expr) -> tuple[pl.Series, dict[int, str]]:
    """Evaluate an expression over a frame; return its values, null where it fails, and those rows' faults.

    An error anywhere fails a whole frame in Polars: the frame is halved until the culprits are alone.
    """
    try:
        return frame.select(pl.first().is_null(), expr.alias(_RESULT)).get_column(_RESULT), {}
    except pl.exceptions.PolarsError as error:
        if frame.height == 1:
            empty = frame.clear().select(pl.first().is_null(), expr.alias(_RESULT)).get_column(_RESULT)
            return empty.extend_constant(None, 1), {0: str(error).partition("\n")[0]}
    middle = frame.height // 2
    first, first_faults = evaluated(frame.head(middle), expr)
    second, second_faults = evaluated(frame.tail(-middle), expr)
    return pl.concat([first, second]), first_faults | {
        middle + row: why for row, why in second_faults.items()
    }


def _framed(columns: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """Return types by what their columns are called in frames."""
    return {frame_name(name): dtype for name, dtype in columns.items()}


def _sources(expr: pl.Expr) -> frozenset[str]:
    return frozenset(map(source_name, expr.meta.root_names()))


@contextmanager
def _depth_told(text: str) -> Iterator[None]:
    """Say it in a sentence when an expression is deeper than Python or Polars goes."""
    try:
        yield
    except RecursionError as error:
        raise JobError(
            f"{brief(text)} is nested too deeply; compute a part of it in the source's query"
        ) from error


def _checked(text: str, columns: Mapping[str, pl.DataType]) -> tuple[pl.Expr, pl.DataType]:
    try:
        expr = parsed(text)
        roots = set(expr.meta.root_names())
        node = tree_of(expr)
    except pl.exceptions.PolarsError as error:
        raise JobError(
            f"{brief(text)} isn't an SQL expression that Polars knows: {_first_line(error)}"
        ) from error
    culprit = _across_rows(node, columns)
    if culprit is not None:
        raise JobError(
            f"{brief(text)} uses {culprit}, whose result can depend on other rows of a batch; "
            "rules look at one row at a time, so compute it in the source's query"
        )
    unknown = sorted(map(source_name, roots - set(columns)))
    if unknown:
        known = map(source_name, columns)
        raise JobError(f"{brief(text)} names no known column: {unknown[0]!r}{nearest(unknown[0], known)}")
    if (grows := unbounded(node)) is not None:
        raise JobError(f"{brief(text)} {grows}")
    if (kinds := unlike(node, columns)) is not None:
        raise JobError(f"{brief(text)} can't be computed: it compares {kinds}{_hint(roots, columns)}")
    frame = pl.DataFrame(schema=dict(columns))
    try:
        result = frame.select(expr.alias(_RESULT))
    except pl.exceptions.PolarsError as error:
        raise JobError(
            f"{brief(text)} can't be computed: {_first_line(error)}{_hint(roots, columns)}"
        ) from error
    if result.width != 1:
        raise JobError(f"{brief(text)} gives {result.width} values; an expression gives one")
    return expr, result.dtypes[0]


def _across_rows(node: Any, columns: Mapping[str, pl.DataType]) -> str | None:
    """Return the name of what mixes rows in an expression's tree, or None when nothing does.

    Only what is known to go by row passes; so a function new in Polars is refused, not trusted.
    """
    match node:
        case {"Column": _} | {"Literal": _}:
            return None
        case {"Alias": [inner, _]}:
            return _across_rows(inner, columns)
        case {"BinaryExpr": {"left": left, "right": right}}:
            return _across_rows(left, columns) or _across_rows(right, columns)
        case {"Ternary": {"predicate": predicate, "truthy": truthy, "falsy": falsy}}:
            return next(
                filter(None, (_across_rows(part, columns) for part in (predicate, truthy, falsy))), None
            )
        case {"Cast": {"expr": inner, "dtype": wanted}}:
            return _across_rows(inner, columns) or _guessed_cast(inner, wanted, columns)
        case {"Function": {"input": inputs, "function": function}}:
            inner = next(filter(None, (_across_rows(part, columns) for part in inputs)), None)
            return inner or _function_across_rows(function, inputs)
        case {"Agg": {**aggregation}}:
            return f"the aggregate {str(next(iter(aggregation))).lower()}"
        case "Len":
            return "the aggregate count"
        case {"Over": _}:
            return "a window function"
        case _:
            return str(node if isinstance(node, str) else next(iter(node))).lower()


def _function_across_rows(function: Any, inputs: list[Any]) -> str | None:
    name, detail = next(iter(function.items())) if isinstance(function, dict) else (function, None)
    inner = next(iter(detail)) if isinstance(detail, dict) else detail
    if inner == "IsIn" and "Literal" not in inputs[1]:
        return "IN with a column at its right"
    if isinstance(detail, dict) and inner == "Strptime" and detail["Strptime"][1]["format"] is None:
        return _GUESSED_FORMAT
    known = inner in _BOOLEAN_BY_ROW if name == "Boolean" else name in _BY_ROW and inner not in _ACROSS_ROWS
    return None if known else f"{name} {inner or ''}".strip().lower()


def _guessed_cast(inner: Any, wanted: Any, columns: Mapping[str, pl.DataType]) -> str | None:
    """Refuse casts from text to dates and times: Polars guesses the format from the first row."""
    name = wanted["Literal"] if isinstance(wanted, dict) and "Literal" in wanted else wanted
    if "Literal" in inner or (next(iter(name)) if isinstance(name, dict) else name) not in _TEMPORAL:
        return None
    expr = expr_of(inner)
    if set(expr.meta.root_names()) - set(columns):
        return None
    dtype = pl.DataFrame(schema=dict(columns)).select(expr.alias(_RESULT)).dtypes[0]
    return _GUESSED_FORMAT if dtype == pl.String else None


def _wraps(expr: pl.Expr, columns: Mapping[str, pl.DataType]) -> pl.Expr | None:
    """Compare an expression with itself over integers of 128 bits, if it adds, subtracts or multiplies."""
    tree = tree_of(expr)
    text = json.dumps(tree)
    if not any(operation in text for operation in _ARITHMETIC):
        return None
    wide = expr_of(_widened(tree, columns))
    differs = wide.ne_missing(expr)
    try:
        pl.DataFrame(schema=dict(columns)).select(differs)
    except pl.exceptions.PolarsError:
        return None  # a function that takes no wide integers: they only count or index there
    return differs


def _widened(node: Any, columns: Mapping[str, pl.DataType]) -> Any:
    """Return an expression's tree with every integer that comes from a column or a cast made wide."""
    match node:
        case {"Column": str(name)} if columns[name].is_integer():
            return _wide(node)
        case {"Cast": {"expr": inner, "dtype": {"Literal": str(dtype)}, **rest}} if dtype in _INTEGERS:
            cast = {"expr": _widened(inner, columns), "dtype": {"Literal": dtype}, **rest}
            return _wide({"Cast": cast})
        case {"Literal": _}:
            return node
        case dict():
            return {key: _widened(value, columns) for key, value in node.items()}
        case list():
            return [_widened(value, columns) for value in node]
        case _:
            return node


def _wide(node: Any) -> Any:
    return {"Cast": {"expr": node, "dtype": {"Literal": "Int128"}, "options": "NonStrict"}}


def _hint(roots: Iterable[str], columns: Mapping[str, pl.DataType]) -> str:
    """Say how literals are written for the types at hand: Polars compares nothing with a mere text."""
    hints = set[str]()
    for root in roots:
        name = source_name(root)
        match columns[root]:
            case pl.Datetime() as moment:
                zone = "" if moment.time_zone is None else "Z"
                word = "TIMESTAMP" if moment.time_zone is None else "TIMESTAMPTZ"
                hints.add(f"a moment like {name} is written {word} '2024-01-15T10:00:00{zone}'")
            case pl.Date():
                hints.add(f"a date like {name} is written DATE '2024-01-15'")
            case pl.String():
                hints.add(f"{name} is text here; a number in it is CAST({name} AS DOUBLE)")
            case _:
                pass
    return "".join(f"; {hint}" for hint in sorted(hints))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
