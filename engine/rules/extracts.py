"""Paths into documents: every value that a rule wants of one document, found in one pass over it.

Invariant: a document that can't be taken apart is found, flaw and all, whatever the path.
"""

from collections.abc import Sequence

import polars as pl

from engine.contracts.documents import DocumentCodec
from engine.documents.cutting import parts
from engine.kinds import Document
from engine.rules.values import ValueExpr, representation

_EXTRACT = "\0path:"


class Extracts:
    """Collects the paths of one rule while it is compiled; then says which columns hold what they lead to."""

    __slots__ = ("_codec", "_roots")

    def __init__(self, codec: DocumentCodec) -> None:
        self._codec = codec
        self._roots: dict[str, tuple[pl.Expr, list[tuple[str, ...]]]] = {}

    def found(self, document: ValueExpr, name: str, path: tuple[str, ...]) -> ValueExpr:
        """Return the value below a path of member names in the document that the rule knows by a name."""
        _, paths = self._roots.setdefault(name, (document.expr, []))
        if path not in paths:
            paths.append(path)
        return ValueExpr(
            pl.col(_EXTRACT + name).struct.field(str(paths.index(path))), Document(), document.flaw
        )

    def columns(self, made_of: str, *, otherwise: bool = False) -> tuple[pl.Expr, ...]:
        """Return the columns to add that are made of a certain column, or `otherwise` all others."""
        return tuple(
            _extracted(expr, paths, self._codec).alias(_EXTRACT + name)
            for name, (expr, paths) in self._roots.items()
            if (made_of in expr.meta.root_names()) is not otherwise
        )


def _extracted(document: pl.Expr, paths: Sequence[tuple[str, ...]], codec: DocumentCodec) -> pl.Expr:
    names = [str(number) for number in range(len(paths))]
    result = pl.Struct(dict.fromkeys(names, representation(Document())))

    def column(series: pl.Series) -> pl.Series:
        found = zip(names, parts(series, paths, codec), strict=True)
        return pl.DataFrame([part.alias(name) for name, part in found]).to_struct(series.name)

    return document.map_batches(column, return_dtype=result, is_elementwise=True)
