"""COPY … TO STDOUT as Arrow batches.

Invariant: rows leave here only in whole CSV messages that have been parsed; the end is reported only when the
server has ended the command and counted as many rows as were parsed.
"""

import asyncio
from codecs import BOM_UTF8
from collections.abc import AsyncGenerator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from connectors.postgres import canonical
from connectors.postgres.errors import speaking
from connectors.postgres.sql import GROUP_START, Shape
from engine.batch import Cursor
from engine.contracts.documents import DocumentCodec
from engine.documents import walking
from engine.errors import PermanentError
from engine.frozen import dataclass

CHUNK_BYTES = 2_000_000
"""How much CSV becomes one batch; measured to be a good size."""
DELIMITER, QUOTE = "\x1f", "\x1e"
"""In place of the comma and the quotation mark, of which documents are full: a text without these two and
without line ends comes as it is, neither quoted nor its marks doubled.
Source: https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS, "CSV Format"."""
GROUP_BYTES_MAX = 64_000_000
"""How much memory the rows of one and the same key may take."""
_ROW_BYTES_GUESS = 200.0
_FILL = 0.95
"""How near a chunk comes to `batch_rows`: rows differ in length, and one too many makes two half batches."""


@dataclass(frozen=True, slots=True)
class KeyCuts:
    """Between any two rows reading can go on, but not between rows of one key.

    Shape: `key` the key's columns as the server printed them, since a cursor is made of nothing else;
    `starts` "t" where the server says that a row's key differs from the one before; None: everywhere.
    """

    key: tuple[pa.Array, ...]
    starts: pa.Array | None

    def before(self, row: int) -> tuple[int, Cursor] | None:
        """Return the last place at or before `row`; see engine.batch.Cuts."""
        while self.starts is not None and row > 0 and self.starts[row].as_py() != "t":
            row -= 1
        return (row, self.behind(row - 1)) if row > 0 else None

    def behind(self, row: int) -> Cursor:
        """Return the cursor behind a row."""
        found = Cursor(tuple(column[row].as_py() for column in self.key))
        assert None not in found.key, "a key column holds a null"
        return found


@dataclass(frozen=True, slots=True)
class ParsedRows:
    """Parsed rows, the cursor behind the last of them, and those between them."""

    rows: pa.RecordBatch
    end: Cursor | None
    cuts: KeyCuts | None


@dataclass(frozen=True, slots=True)
class _End:
    """The end of the command, with the server's count of rows."""

    rows: int


class _Chunks:
    """The sink of a COPY: gathers messages to chunks and hands them on one at a time.

    The server is read no faster than chunks are taken: awaiting `put` is the back-pressure.
    """

    def __init__(self, batch_rows: int) -> None:
        self.queue: asyncio.Queue[list[bytes] | _End | BaseException] = asyncio.Queue(1)
        self.row_bytes = _ROW_BYTES_GUESS
        self._batch_rows = batch_rows
        self._parts: list[bytes] = []
        self._size = 0

    async def put(self, data: bytes) -> None:
        wanted = min(CHUNK_BYTES, self._batch_rows * self.row_bytes * _FILL)
        if self._size + len(data) > wanted:
            await self.flush()
        self._parts.append(data)
        self._size += len(data)

    async def flush(self) -> None:
        if self._parts:
            parts, self._parts, self._size = self._parts, [], 0
            await self.queue.put(parts)


async def copy(
    connection: Any, sql: str, shape: Shape, batch_rows: int, codec: DocumentCodec
) -> AsyncGenerator[ParsedRows, None]:
    """Run one COPY and yield its rows in batches of at most `batch_rows`.

    Ordering: as the SELECT says. Where keys aren't unique, a batch ends only where the key changes, so it may
    be larger. Raises: TransientError, PermanentError.
    """
    chunks = _Chunks(batch_rows)
    held: pa.RecordBatch | None = None
    parsed = 0
    command = asyncio.create_task(_run(connection, sql, chunks))
    try:
        while True:
            got = await chunks.queue.get()
            if isinstance(got, BaseException):
                raise got
            if isinstance(got, _End):
                if got.rows != parsed:
                    raise PermanentError(
                        f"source: the server sent {got.rows} rows and {parsed} were understood; if a function"
                        " in the query or `where` raises INFO, take that out, else report this as a bug"
                    )
                break
            digest = await asyncio.to_thread(_digest, shape, got, held, batch_rows, codec)
            parsed, held, chunks.row_bytes = parsed + digest.parsed, digest.held, digest.row_bytes
            for rows in digest.ready:
                yield rows
        if held is not None:
            yield await asyncio.to_thread(finish, shape, held, codec)
    finally:
        command.cancel()
        await asyncio.wait([command])


async def _run(connection: Any, sql: str, chunks: _Chunks) -> None:
    """Feed the queue until the command has ended; its last entry is an _End or what went wrong."""
    try:
        async with speaking("source"):
            status = await connection.copy_from_query(
                f"{sql}\n", output=chunks.put, format="csv", delimiter=DELIMITER, quote=QUOTE
            )
        await chunks.flush()
        await chunks.queue.put(_End(int(str(status).rpartition(" ")[2])))
    except Exception as error:  # raised again by the reader of the queue
        await chunks.queue.put(error)


@dataclass(frozen=True, slots=True)
class _Digest:
    """What a chunk of CSV gave, and the rows held back because their key may go on in the next."""

    ready: Sequence[ParsedRows]
    held: pa.RecordBatch | None
    parsed: int
    row_bytes: float


def _digest(
    shape: Shape,
    parts: Sequence[bytes],
    held: pa.RecordBatch | None,
    batch_rows: int,
    codec: DocumentCodec,
) -> _Digest:
    data = b"".join(parts)
    table = parse(shape, data)
    count = table.num_rows
    if not shape.marks_groups:
        ready = [finish(shape, part, codec) for part in _parts(table, batch_rows)]
        return _Digest(ready, None, count, len(data) / count)
    groups, held = _whole_groups(held, table, batch_rows)
    if held.nbytes > GROUP_BYTES_MAX:
        raise PermanentError(
            f"source.key: the rows of one single key take more than {GROUP_BYTES_MAX // 1_000_000} MB; add"
            " columns to the key that tell them apart"
        )
    return _Digest([finish(shape, part, codec) for part in groups], held, count, len(data) / count)


def parse(shape: Shape, data: bytes) -> pa.RecordBatch:
    """Parse CSV to columns of text: an unquoted empty field is NULL, a quoted one the empty string."""
    names = [str(n) for n in range(len(shape.columns))] + [GROUP_START] * shape.marks_groups
    columns = walking.rows(data, f"{DELIMITER}{QUOTE}".encode(), len(names))
    if columns is None:
        return parsed_by_arrow(data, names)
    return pa.RecordBatch.from_arrays(columns, names=names)


def parsed_by_arrow(data: bytes, names: Sequence[str]) -> pa.RecordBatch:
    """Do the same without the extension, and for what that calls odd. Raises: PermanentError."""
    if data.startswith(BOM_UTF8):
        data = BOM_UTF8 + data  # the parser drops one at the start, and here it is part of a value
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, block_size=len(data) + 1, column_names=names
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=DELIMITER, quote_char=QUOTE, newlines_in_values=True, ignore_empty_lines=False
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        raise PermanentError(f"source: rows from the server can't be understood: {error}") from error
    batches = table.combine_chunks().to_batches()
    assert len(batches) == 1, "one block gives one batch"
    return batches[0]


def finish(shape: Shape, texts: pa.RecordBatch, codec: DocumentCodec) -> ParsedRows:
    """Turn columns of text into the columns that the schema promises."""
    cuts = None
    if shape.key:
        places = {column.name: n for n, column in enumerate(shape.columns)}
        starts = texts.column(GROUP_START) if shape.marks_groups else None
        cuts = KeyCuts(tuple(texts.column(places[key.name]) for key in shape.key), starts)
    columns: Sequence[pa.Array] = [
        canonical.column(column.node, texts.column(n), codec) for n, column in enumerate(shape.columns)
    ]
    rows = pa.RecordBatch.from_arrays(columns, names=[column.name for column in shape.columns])
    return ParsedRows(rows, None if cuts is None else cuts.behind(len(rows) - 1), cuts)


def _parts(table: pa.RecordBatch, batch_rows: int) -> list[pa.RecordBatch]:
    """Split evenly into parts of at most `batch_rows`."""
    count = -(-table.num_rows // batch_rows)
    cuts = [table.num_rows * n // count for n in range(count + 1)] if count else []
    return [table.slice(low, high - low) for low, high in pairwise(cuts)]


def _whole_groups(
    held: pa.RecordBatch | None, table: pa.RecordBatch, batch_rows: int
) -> tuple[list[pa.RecordBatch], pa.RecordBatch]:
    """Return parts of about `batch_rows` whose keys can't come again, and the rows of the last key.

    A part of one key may be larger.
    """
    joined = table if held is None else pa.concat_batches([held, table])
    starts = pc.indices_nonzero(pc.equal(joined.column(GROUP_START), "t")).to_numpy()
    last = int(starts[-1])
    wanted = np.arange(batch_rows, last, batch_rows)
    before = starts[np.searchsorted(starts, wanted, side="right") - 1]
    cuts = [int(cut) for cut in np.unique(np.concatenate(([0], before, [last])))]
    return [joined.slice(low, high - low) for low, high in pairwise(cuts)], joined.slice(last)
