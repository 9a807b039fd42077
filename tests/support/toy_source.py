"""A source in memory, as a stranger would write one: rows of a drawer, in the order of their numbers."""

import asyncio
import random
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from engine.batch import Batch, Cursor, Segment
from engine.contracts.documents import DocumentCodec
from engine.contracts.source import SourceAbilities, SourceTicket
from engine.errors import PermanentError
from engine.job.model import Job
from engine.job.section import Text
from engine.job.sections import SourceSection
from engine.job.unique import Unique
from engine.job.watermark import AnyWatermark
from engine.kinds import Column, RowSchema, Scalar
from engine.registry import SourceConnector

SCHEMA = RowSchema(
    (
        Column("id", Scalar.INT),
        Column("tenant", Scalar.STRING),
        Column("amount", Scalar.NUMBER),
        Column("note", Scalar.STRING),
    ),
    ("id",),
    (frozenset({"id"}),),
)

DRAWERS: dict[str, list[dict[str, str | None]]] = {}
"""What the toy reads: rows by drawer, sorted by `id` as a number."""


BROKEN: dict[str, tuple[int, Callable[[], bool]]] = {}
"""Rows behind which a drawer can't be read, and what has to be so before that shows."""


class ToySourceSection(SourceSection):
    """A drawer in memory."""

    type: Literal["toy"]
    """The kind of source."""
    drawer: Text
    """The drawer's name."""
    watermark: AnyWatermark = None
    """There is none."""
    unique: Unique = False
    """The user's word: item keys are one row's alone (true), or columns are unique. Checked in each run."""
    segments: Literal["auto"] | int = "auto"
    """Into how many ranges the drawer is cut."""
    batch_rows: int = Field(default=100, ge=1)
    """The most rows that travel together."""

    @property
    def reads(self) -> str:
        """The drawer's name."""
        return self.drawer


class ToySource:
    """contracts.Source over a drawer."""

    notices: Sequence[str] = ()
    watermark = None

    def __init__(self, section: ToySourceSection) -> None:
        self._section = section
        self._rows = DRAWERS[section.drawer]
        self._ids = [int(row["id"] or 0) for row in self._rows]
        self.ticket = SourceTicket(SCHEMA, None, section.drawer)
        self.abilities = SourceAbilities(lookup=self, count=self.count)

    @property
    def identity(self) -> Mapping[str, str]:
        return {"drawer": self._section.drawer}

    async def count(self, within_s: float) -> int | None:
        return len(self._rows)

    async def rows_expected(self) -> int | None:
        return len(self._rows)

    async def segments(self, wanted: int) -> Sequence[Segment]:
        cuts = [len(self._ids) * part // wanted for part in range(1, wanted)]
        bounds = [None, *(Cursor((str(self._ids[cut - 1]),)) for cut in dict.fromkeys(cuts) if cut), None]
        return [Segment(n, *pair, None) for n, pair in enumerate(pairwise(bounds))]

    async def read(self, segment: Segment, after: Cursor | None) -> AsyncGenerator[Batch, None]:
        begin = self._behind(after or segment.after)
        end = len(self._ids) if segment.until is None else self._behind(segment.until)
        for sequence, start in enumerate(range(begin, end, self._section.batch_rows)):
            rows, ready = BROKEN.get(self._section.drawer, (len(self._rows), bool))
            if start >= rows:
                while not ready():
                    await asyncio.sleep(0.01)
                raise PermanentError(f"drawer {self._section.drawer} is stuck: pull harder")
            yield self._batch(
                segment.number, sequence, self._rows[start : min(end, start + self._section.batch_rows)]
            )

    async def sample_keys(self, count: int, seed: int) -> Sequence[Cursor]:
        some = random.Random(seed).sample(self._ids, min(count, len(self._ids)))
        return [Cursor((str(each),)) for each in some]

    async def rows_by_key(self, keys: Sequence[Cursor]) -> AsyncGenerator[Batch, None]:
        wanted = {key.key[0] for key in keys}
        rows = [row for row in self._rows if row["id"] in wanted]
        if rows:
            yield self._batch(0, 0, rows)

    async def close(self) -> None:
        return None

    def _behind(self, cursor: Cursor | None) -> int:
        return 0 if cursor is None else bisect_right(self._ids, int(cursor.key[0]))

    def _batch(self, segment: int, sequence: int, rows: Sequence[Mapping[str, Any]]) -> Batch:
        record = pa.RecordBatch.from_pylist(list(rows), SCHEMA.arrow())
        return Batch(segment, sequence, record, Cursor((rows[-1]["id"],)))


async def _open(
    job: Job, since: str | None, ticket: SourceTicket | None, documents: DocumentCodec
) -> ToySource:
    assert isinstance(job.source, ToySourceSection)
    return ToySource(job.source)


CONNECTOR = SourceConnector(ToySourceSection, _open)
