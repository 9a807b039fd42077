"""Paths into documents: every value that a rule wants of one document, found in one pass over it.

Invariant: a document that can't be taken apart is found, flaw and all, whatever the path.
"""

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from engine.kinds import DOCUMENT_TYPE, Document
from engine.rules.values import Value, representation
from engine.wire.fragments import parts

_EXTRACT = "\0path:"


class Extracts:
    """Collects the paths of one rule while it is compiled; then says which columns hold what they lead to."""

    __slots__ = ("_roots",)

    def __init__(self) -> None:
        self._roots: dict[str, tuple[pl.Expr, list[tuple[str, ...]]]] = {}

    def found(self, document: Value, name: str, path: tuple[str, ...]) -> Value:
        """Return the value below a path of member names in the document that the rule knows by a name."""
        _, paths = self._roots.setdefault(name, (document.expr, []))
        if path not in paths:
            paths.append(path)
        return Value(pl.col(_EXTRACT + name).struct.field(str(paths.index(path))), Document(), document.flaw)

    def columns(self, made_of: str, *, otherwise: bool = False) -> tuple[pl.Expr, ...]:
        """Return the columns to add that are made of a certain column, or `otherwise` all others."""
        return tuple(
            _extracted(expr, paths).alias(_EXTRACT + name)
            for name, (expr, paths) in self._roots.items()
            if (made_of in expr.meta.root_names()) is not otherwise
        )


def _extracted(document: pl.Expr, paths: Sequence[tuple[str, ...]]) -> pl.Expr:
    find = parts(paths)
    names = [str(number) for number in range(len(paths))]
    result = pl.Struct(dict.fromkeys(names, representation(Document())))

    def column(series: pl.Series) -> pl.Series:
        flaws = series.struct.field("flaw").to_list()
        found = find(series.struct.field("wire").to_list(), flaws)
        columns = [_documents(part, flaws).alias(name) for name, part in zip(names, found, strict=True)]
        return pl.DataFrame(columns).to_struct(series.name)

    return document.map_batches(column, return_dtype=result, is_elementwise=True)


def _documents(found: Sequence[tuple[str, int, int] | None], flaws: Sequence[str | None]) -> pl.Series:
    missing = [part is None for part in found]
    wires, sizes, depths = (
        zip(*(part or ("", 0, 0) for part in found), strict=True) if found else ((), (), ())
    )
    arrays = [
        pa.array(values, type=field.type)
        for values, field in zip((wires, sizes, depths, flaws), DOCUMENT_TYPE, strict=True)
    ]
    mask = pa.array(missing, type=pa.bool_())
    return pl.Series(pa.StructArray.from_arrays(arrays, fields=list(DOCUMENT_TYPE), mask=mask))
