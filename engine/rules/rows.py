"""The rows of a batch while rules look at them: as they travel, and typed for SQL.

Invariant: both frames hold the same rows in the same order; a row on which an expression failed has a fault.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import polars as pl

from engine.batch import Batch
from engine.contracts.documents import DocumentCodec
from engine.frozen import dataclass
from engine.kinds import Decimal, Kind, Scalar
from engine.rules.names import column, frame_name
from engine.rules.sql import CompiledSql, evaluated
from engine.rules.typed import lost, typed
from engine.rules.values import UNSUPPORTED

ROW_NUMBER, FAULT = "\0row", "\0fault"
"""Columns beside the source's, which no source can name so: the row's index in its batch, and its fault."""
_LOST = "\0lost:"


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a batch.

    Shape: `frame` has the columns that rules name, ROW_NUMBER, and FAULT once a row has one; `typed` has
    ROW_NUMBER, the columns that SQL names, and a Boolean mask for each of `lossy`, in which some value has no
    exact typed form.
    """

    frame: pl.DataFrame
    typed: pl.DataFrame
    lossy: frozenset[str] = frozenset()

    def kept(self, mask: pl.Series) -> "Rows":
        """Return the rows for which the mask is true."""
        return replace(self, frame=self.frame.filter(mask), typed=self.typed.filter(mask))

    def evaluated(self, sql: CompiledSql, name: str) -> tuple[pl.Series, "Rows"]:
        """Evaluate SQL; return its values, and the rows with the faults of those that it fails on."""
        values, failures = evaluated(self.typed, sql.expr)
        faults: list[pl.Series] = []
        if failures:
            texts = [
                f"{UNSUPPORTED}: {name}: {failures[row]}" if row in failures else None
                for row in range(len(values))
            ]
            faults.append(pl.Series(texts, dtype=pl.String))
        if sql.wraps is not None:
            wrapped, _ = evaluated(self.typed, sql.wraps)
            if wrapped.any():
                what = f"{UNSUPPORTED}: {name} goes beyond what a 64-bit integer can hold"
                faults.append(pl.select(pl.when(wrapped).then(pl.lit(what))).to_series())
        for lossy in sorted(sql.columns & self.lossy):
            what = f"{UNSUPPORTED}: {name} needs {lossy}, which holds a value that SQL can't compute with"
            faults.append(self.typed.select(pl.when(self.lost(lossy)).then(pl.lit(what))).to_series())
        return values, self.faulty(faults) if faults else self

    def faulty(self, faults: Iterable[pl.Series]) -> "Rows":
        """Add faults; a row that has one keeps it."""
        before = [pl.col(FAULT)] if FAULT in self.frame.columns else []
        return replace(self, frame=self.frame.with_columns(pl.coalesce(*before, *faults).alias(FAULT)))

    @staticmethod
    def lost(name: str) -> pl.Expr:
        """Return the mask of a lossy column, over `typed`."""
        return pl.col(_LOST + name)

    @property
    def faults(self) -> pl.Series | None:
        """The fault of each row; None when no row has one."""
        return self.frame.get_column(FAULT) if FAULT in self.frame.columns else None


def read(batch: Batch, columns: Iterable[str]) -> pl.DataFrame:
    """Return columns of a batch as they travel, and ROW_NUMBER."""
    numbers = pl.int_range(batch.rows.num_rows, dtype=pl.UInt32, eager=True).alias(ROW_NUMBER)
    series = [pl.Series(frame_name(name), batch.rows.column(name)) for name in columns]
    return pl.DataFrame([numbers, *series])


def with_types(frame: pl.DataFrame, kinds: Mapping[str, Kind], codec: DocumentCodec) -> Rows:
    """Add the typed form of some columns."""
    if not kinds:
        return Rows(frame, pl.DataFrame([frame.get_column(ROW_NUMBER)]))
    casts = [typed(column(name), kind, codec).alias(frame_name(name)) for name, kind in kinds.items()]
    typed_frame = frame.select(ROW_NUMBER, *casts)
    masks: list[pl.Expr] = []
    for name, kind in kinds.items():
        losses = lost(column(name), kind)
        if losses is None:
            continue
        travelling, typed_column = (
            frame.get_column(frame_name(name)),
            typed_frame.get_column(frame_name(name)),
        )
        same = travelling.null_count() == typed_column.null_count()
        if same and isinstance(kind, Scalar | Decimal):
            continue
        masks.append(losses.alias(_LOST + name))
    if not masks:
        return Rows(frame, typed_frame)
    found = frame.select(masks)
    lossy = [mask for mask in found if mask.any()]
    return Rows(
        frame, typed_frame.with_columns(lossy), frozenset(mask.name.removeprefix(_LOST) for mask in lossy)
    )
