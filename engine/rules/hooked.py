"""The `transform` hook: typed rows through the user's function, and back into canonical form.

Invariant: every row that comes out can be traced to the row that went in, and a value that the hook leaves
alone is written exactly as it would be without the hook.
"""

from collections.abc import Callable, Mapping

import polars as pl

from engine.batch import Batch
from engine.contracts.documents import DocumentCodec
from engine.errors import JobError, PermanentError
from engine.frozen import dataclass
from engine.kinds import Kind
from engine.rules.names import column as column_of
from engine.rules.names import frame_name, framed, unframed
from engine.rules.rows import FAULT, ROW_NUMBER, Rows, read, with_types
from engine.rules.typed import canonical, typed_dtype
from engine.rules.values import UNSUPPORTED

TRACE = "__row"
"""The column by which a hook's rows are traced: it passes it on, and may drop, repeat or reorder rows."""

HookFunction = Callable[[pl.LazyFrame], pl.LazyFrame]


@dataclass(frozen=True, slots=True)
class Hooked:
    """A hook, with the columns that go in and those that come out.

    Shape: `kinds` and `types` describe the columns that rules may name behind the hook; `texts` makes their
    canonical form; `kept` are source columns of unchanged kind, whose values stay where the hook keeps them;
    `keeps` those of which the job promises it, and with them each row once at most.
    """

    hook: HookFunction
    name: str
    codec: DocumentCodec
    source: Mapping[str, Kind]
    kinds: Mapping[str, Kind]
    types: Mapping[str, pl.DataType]
    texts: Mapping[str, pl.Expr]
    kept: frozenset[str]
    keeps: frozenset[str] = frozenset()

    @classmethod
    def compiled(
        cls,
        hook: HookFunction,
        name: str,
        codec: DocumentCodec,
        source: Mapping[str, Kind],
        keeps: frozenset[str] = frozenset(),
    ) -> "Hooked":
        """Find out what the hook gives, by giving it no rows.

        Raises: JobError when it fails on them, drops the column that traces rows, or one that it `keeps`.
        """
        if TRACE in source:
            raise JobError(
                f"the source has a column {TRACE}, a name that traces a hook's rows; rename it in a query"
            )
        empty = pl.DataFrame(
            schema={TRACE: pl.UInt32(), **{column: typed_dtype(kind) for column, kind in source.items()}}
        )
        try:
            result: object = hook(empty.lazy())
            schema = result.collect().schema if isinstance(result, pl.LazyFrame) else None
        except Exception as error:
            raise JobError(f"transform {name} fails on a frame without rows: {_one_line(error)}") from error
        if schema is None:
            raise JobError(f"transform {name} returns {type(result).__name__}; it must return a LazyFrame")
        if schema.get(TRACE) != pl.UInt32():
            raise JobError(f"transform {name} loses the column {TRACE}, by which rows are traced; pass it on")
        types = {column: dtype for column, dtype in schema.items() if column != TRACE}
        kinds: dict[str, Kind] = {}
        texts: dict[str, pl.Expr] = {}
        kept: set[str] = set()
        for column, dtype in types.items():
            before = source.get(column)
            same = before is not None and typed_dtype(before) == dtype
            text, kind = canonical(
                column_of(column), dtype, f"transform {name}: {column}", before if same else None, codec
            )
            if before is not None and kind == before:
                kept.add(column)
            kinds[column] = kind
            texts[column] = text.alias(frame_name(column))
        for column in sorted(keeps - kept):
            what = "doesn't give as it gets it" if column in source else "isn't given by the source"
            raise JobError(f"transform.keeps: {column} is a column that transform {name} {what}; take it out")
        return cls(hook, name, codec, source, kinds, types, texts, frozenset(kept), keeps)

    def __call__(self, batch: Batch) -> tuple[Rows, pl.DataFrame]:
        """Return the rows behind the hook, and ROW_NUMBER and FAULT of those that can't be given to it.

        Ordering: source rows in their order.
        Raises: PermanentError when the hook fails, or gives other columns than it gave without rows.
        """
        frame = read(batch, self.source)
        rows = with_types(frame, self.source, self.codec)
        lossy = [
            pl.when(rows.lost(column)).then(
                pl.lit(f"{UNSUPPORTED}: transform {self.name} can't be given the value of {column}")
            )
            for column in sorted(rows.lossy)
        ]
        faults = rows.typed.select(ROW_NUMBER, pl.coalesce(*lossy, pl.lit(None, pl.String)).alias(FAULT))
        bypassed = faults.filter(pl.col(FAULT).is_not_null())
        typed = rows.typed.select(pl.col(ROW_NUMBER).alias(TRACE), *map(column_of, self.source))
        given = typed if bypassed.is_empty() else typed.filter(faults.get_column(FAULT).is_null())
        result = framed(self._called(unframed(given, self.source)), self.types)
        origin = result.get_column(TRACE)
        if self.keeps and origin.is_duplicated().any():
            raise PermanentError(
                f"transform {self.name} gives a row twice, and transform.keeps promises that it doesn't; mend"
                " the hook, or take `keeps` out of the job, and run again"
            )
        if not origin.equals(frame.get_column(ROW_NUMBER)):
            frame, typed = frame[origin], typed[origin]
        texts = [self._travelling(column, frame, typed, result) for column in self.types]
        return Rows(
            pl.DataFrame([origin.alias(ROW_NUMBER), *texts]), result.rename({TRACE: ROW_NUMBER})
        ), bypassed

    def _called(self, given: pl.DataFrame) -> pl.DataFrame:
        try:
            result = self.hook(given.lazy()).collect()
        except Exception as error:
            raise PermanentError(
                f"transform {self.name} failed: {_one_line(error)}; mend it and run again"
            ) from error
        expected = {TRACE: pl.UInt32(), **self.types}
        for column in sorted(expected.keys() | result.schema.keys()):
            if expected.get(column) != result.schema.get(column):
                raise PermanentError(
                    f"transform {self.name} gives {column} as {result.schema.get(column)}, and gave it as "
                    f"{expected.get(column)} for a frame without rows; make its types independent of the data"
                )
        origin = result.get_column(TRACE)
        if origin.null_count() or not origin.is_in(given.get_column(TRACE).implode()).all():
            raise PermanentError(
                f"transform {self.name} invents values of {TRACE}; pass that column on as it is"
            )
        return result if origin.is_sorted() else result.sort(TRACE, maintain_order=True)

    def _travelling(
        self, column: str, before: pl.DataFrame, typed_before: pl.DataFrame, result: pl.DataFrame
    ) -> pl.Series:
        """Return a column as it travels: the source's own text wherever the hook has left its value alone."""
        text, place = self.texts[column], frame_name(column)
        if column not in self.kept:
            return result.select(text).to_series()
        now, unchanged = result.get_column(place), before.get_column(place)
        same = now.eq_missing(typed_before.get_column(place))
        if same.all():
            return unchanged
        if column in self.keeps:
            raise PermanentError(
                f"transform {self.name} changes {column}, which transform.keeps says it leaves alone; mend"
                " the hook, or take the column out of `keeps`, and run again"
            )
        changed = result.select(pl.when(~same).then(pl.col(place)).alias(place)).select(text)
        return changed.select(pl.when(same).then(unchanged).otherwise(pl.col(place)).alias(place)).to_series()


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
