"""A source, a transform and a target in memory, whose behaviour a test scripts."""

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from engine.batch import Batch, Cursor, DeadLetter, EncodedBatch, Fates, Segment, WriteReport
from engine.contracts.source import SourceAbilities, SourceTicket
from engine.errors import PermanentError
from engine.kinds import Column, RowSchema, Scalar
from engine.meter import Meter
from engine.run.key_gate import KeyGate
from engine.run.letters import LetterWindow
from engine.run.link import RunnerEnd
from engine.run.pipeline import BatchWindow, Stages


class Links:
    """A workforce of workers that are there, and of those that `join` later.

    Of one that dies nothing is under way once `buried_after` lets go; without it its death ends the run.
    """

    def __init__(
        self, links: Sequence[RunnerEnd], buried_after: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        self._joining: asyncio.Queue[RunnerEnd] = asyncio.Queue()
        self._buried_after = buried_after
        for link in links:
            self.join(link)

    def join(self, link: RunnerEnd) -> None:
        self._joining.put_nowait(link)

    async def joining(self) -> RunnerEnd:
        return await self._joining.get()

    async def buried(self, link: RunnerEnd) -> str:
        if self._buried_after is None:
            raise PermanentError("a worker process died")
        await self._buried_after()
        return "killed"


SCHEMA = RowSchema((Column("id", Scalar.INT),), ("id",), (frozenset({"id"}),))


def batch(segment: int, sequence: int, ids: Sequence[int]) -> Batch:
    rows = pa.record_batch([pa.array([str(n) for n in ids], pa.string())], names=["id"])
    return Batch(segment, sequence, rows, Cursor((str(ids[-1]),)))


@dataclass
class FakeSource:
    """Segment number → its batches, as lists of ids. `before` runs ahead of each; its result is awaited."""

    batches: Mapping[int, Sequence[Sequence[int]]]
    before: Callable[[int, int], Awaitable[object] | None] | None = None
    reads: list[tuple[int, int]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    watermark: str | None = None

    @property
    def ticket(self) -> SourceTicket:
        return SourceTicket(SCHEMA, None, "")

    @property
    def identity(self) -> Mapping[str, str]:
        return {"database": "fake"}

    @property
    def abilities(self) -> SourceAbilities:
        return SourceAbilities()

    async def rows_expected(self) -> int | None:
        return sum(len(ids) for batches in self.batches.values() for ids in batches)

    async def segments(self, wanted: int) -> Sequence[Segment]:
        return [Segment(number, None, None, None) for number in self.batches]

    async def read(self, segment: Segment, after: Cursor | None) -> AsyncGenerator[Batch, None]:
        sequence = 0
        for position, ids in enumerate(self.batches[segment.number]):
            if after is not None and ids[-1] <= int(after.key[0]):
                continue
            if self.before is not None and (wait := self.before(segment.number, position)) is not None:
                await wait
            self.reads.append((segment.number, position))
            yield batch(segment.number, sequence, ids)
            sequence += 1
            await asyncio.sleep(0)

    async def close(self) -> None:
        return None


def encode(
    batch: Batch, keys: Callable[[int], int] = lambda n: n, bad: frozenset[int] = frozenset()
) -> EncodedBatch:
    """One item per row with key hash `keys(id)`; ids in `bad` become dead letters."""
    ids = [int(text) for text in batch.rows.column(0).to_pylist()]
    good = [n for n in ids if n not in bad]
    texts = [b'{"id":%d},' % n for n in good]
    letters = tuple(
        DeadLetter("Row", "key_empty", "PK is empty", {"id": str(n)}, None) for n in ids if n in bad
    )
    return EncodedBatch(
        batch=batch,
        text=memoryview(b"".join(texts)),
        offsets=np.cumsum([0, *map(len, texts)], dtype=np.int64),
        units=np.ones(len(good), np.int32),
        key_hashes=np.array([keys(n) for n in good], np.uint64),
        partition_hashes=np.array([keys(n) for n in good], np.uint64),
        deletes=np.zeros(len(good), np.bool_),
        rows=np.array([row for row, n in enumerate(ids) if n not in bad], np.uint32),
        rules=np.zeros(len(good), np.uint16),
        emitted=len(ids),
        dead_letters=letters,
        letter_rows=np.array([row for row, n in enumerate(ids) if n in bad], np.uint32),
    )


@dataclass
class FakeTarget:
    """Writes into `written`, in the order of arrival. `during` is awaited while a batch is in flight."""

    keys: Callable[[int], int] = lambda n: n
    bad: frozenset[int] = frozenset()
    during: Callable[[EncodedBatch], "asyncio.Future[None] | None"] | None = None
    written: list[int] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    limits: list[float | None] = field(default_factory=list)

    def encode(self, batch: Batch, items: object) -> EncodedBatch:
        return encode(batch, self.keys, self.bad)

    async def write(self, encoded: EncodedBatch) -> WriteReport:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.during is not None and (wait := self.during(encoded)) is not None:
                await wait
            await asyncio.sleep(0)
            ids = [int(text) for text in encoded.batch.rows.column(0).to_pylist()]
            self.written += [n for n in ids if n not in self.bad]
        finally:
            self.in_flight -= 1
        return WriteReport(len(encoded), 0, 0, ())

    def progress(self, encoded: EncodedBatch) -> Fates | None:
        return None

    def drain(self) -> None:
        """What is begun is finished."""

    def flush(self) -> None:
        """Do nothing: items are acked one by one."""

    def limit(self, units_per_s: float | None) -> None:
        self.limits.append(units_per_s)

    async def close(self) -> None:
        return None


class FakeTransform:
    rules: Sequence[object] = ()

    def __call__(self, batch: Batch) -> Sequence[object]:
        return ()


def line(
    source: FakeSource,
    target: FakeTarget,
    *,
    window: int = 2**20,
    ordered: bool = False,
    threads: int = 2,
    letters_bytes: float = math.inf,
) -> Stages:
    return Stages(
        source=source,
        transform=FakeTransform(),  # type: ignore[arg-type]
        target=target,  # type: ignore[arg-type]
        window=BatchWindow(window),
        gate=KeyGate() if ordered else None,
        threads=ThreadPoolExecutor(threads),
        meter=Meter(),
        letters=LetterWindow(letters_bytes),
    )
