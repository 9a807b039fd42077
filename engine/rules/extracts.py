"""Paths into documents: every value that a rule wants of one document, found in one pass over it.

Invariant: a document that can't be taken apart is found, flaw and all, whatever the path.
"""

from collections.abc import Sequence

import polars as pl

from engine.contracts.documents import DocumentCodec, Fragment
from engine.documents.reading import DocumentReader
from engine.kinds import Document, documents_array
from engine.rules.values import ValueExpr, representation

_EXTRACT = "\0path:"


class Extracts:
    """Collects the paths of one rule while it is compiled; then says which columns hold what they lead to."""

    __slots__ = ("_reader", "_roots")

    def __init__(self, codec: DocumentCodec) -> None:
        self._reader = DocumentReader(codec)
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
            _extracted(expr, paths, self._reader).alias(_EXTRACT + name)
            for name, (expr, paths) in self._roots.items()
            if (made_of in expr.meta.root_names()) is not otherwise
        )


def _extracted(document: pl.Expr, paths: Sequence[tuple[str, ...]], reader: DocumentReader) -> pl.Expr:
    names = [str(number) for number in range(len(paths))]
    result = pl.Struct(dict.fromkeys(names, representation(Document())))

    def column(series: pl.Series) -> pl.Series:
        flaws = series.struct.field("flaw").to_list()
        found = reader.parts(paths, series.struct.field("wire").to_list(), flaws)
        columns = [_documents(part, flaws).alias(name) for name, part in zip(names, found, strict=True)]
        return pl.DataFrame(columns).to_struct(series.name)

    return document.map_batches(column, return_dtype=result, is_elementwise=True)


def _documents(found: Sequence[Fragment | None], flaws: Sequence[str | None]) -> pl.Series:
    cells = [None if part is None else (*part, flaw) for part, flaw in zip(found, flaws, strict=True)]
    return pl.Series(documents_array(cells))
