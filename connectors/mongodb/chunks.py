"""Raw batches from the server, cut into chunks of documents that become one batch of columns each.

Invariant: every document of a raw batch is in exactly one chunk, in its order.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.mongodb.bson_values import INT32_AT, elements
from connectors.mongodb.documents import read_columns
from connectors.mongodb.layout import FieldColumns
from connectors.mongodb.positions import id_element, position_text
from engine.batch import Cursor
from engine.documents import walking
from engine.frozen import dataclass

_ID_FIRST = b"_id\0"
AROUND_ALL = 4 + len(b"\x03") + len(b"0\0") + len(b"\0")
"""The bytes that an array has before its first document (length, type, name) and behind its last."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Documents that follow one another in `data`, by the places where they begin."""

    data: bytes
    starts: npt.NDArray[np.int64]

    @property
    def end(self) -> str | None:
        """The position behind the last document."""
        return self._behind(-1)

    def before(self, row: int) -> tuple[int, Cursor] | None:
        """Return the place before a document and the cursor there; see engine.batch.Cuts."""
        position = self._behind(row - 1) if row > 0 else None
        return None if position is None else (row, Cursor((position,)))

    def _behind(self, row: int) -> str | None:
        element = id_element(self.data, int(self.starts[row]))
        return None if element is None else position_text(element)

    def alone(self) -> "Chunk":
        """Return the same documents without what else came with them in the server's reply.

        One that came as a whole is not copied.
        """
        begin, last = int(self.starts[0]), int(self.starts[-1])
        stop = last + int(INT32_AT(self.data, last)[0])
        if len(self.data) - (stop - begin) == AROUND_ALL:
            return self
        return Chunk(self.data[begin:stop], self.starts - begin)

    @property
    def id_types(self) -> npt.NDArray[np.uint8]:
        """The BSON type of each `_id`; servers put it first, and what isn't there counts as type 0."""
        octets = np.frombuffer(self.data, np.uint8)
        first = np.frombuffer(_ID_FIRST, np.uint8)
        is_id = (octets[self.starts[:, None] + np.arange(5, 5 + len(first))] == first).all(axis=1)
        return np.where(is_id, octets[self.starts + 4], 0).astype(np.uint8)

    def rows(self, layout: FieldColumns) -> pa.RecordBatch:
        """Return the documents as columns."""
        return read_columns(layout, self.data, self.starts)


def starts_in(array: bytes) -> npt.NDArray[np.int64]:
    """Return where each document of a BSON array begins."""
    found = walking.starts(array)
    if found is not None:
        return found
    return np.array([begin for _, _, begin, _ in elements(array, 0)], np.int64)


def starts_of(data: bytes) -> list[int]:
    """Return where each of the documents begins that follow one another."""
    starts: list[int] = []
    at = 0
    while at < len(data):
        starts.append(at)
        at += int(INT32_AT(data, at)[0])
    return starts


def chunks(data: bytes, bytes_max: int, rows_max: int, passed: bytes | None) -> Iterator[Chunk]:
    """Cut a raw batch, a BSON array, into even chunks, each of at least one document.

    Of several, a chunk has at most half as much again as `bytes_max`: what a reply has over it would be a
    batch of few documents, and whatever a batch has, half of what a full one costs is spent on it. `passed`
    is the `_id`, as a document, that has been read already and is left out if it comes first.
    """
    starts = starts_in(data)
    if passed is not None and len(starts) and id_element(data, int(starts[0])) == passed:
        starts = starts[1:]
    ends = np.append(starts[1:], len(data))
    while len(starts):
        left = ends[-1] - starts[0]
        wanted = left // max(1, round(left / bytes_max))
        count = max(1, min(rows_max, int(np.searchsorted(ends, starts[0] + wanted, side="right"))))
        yield Chunk(data, starts[:count])
        starts, ends = starts[count:], ends[count:]
