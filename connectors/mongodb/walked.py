"""Raw documents to the columns of a batch: in C where the extension was built, in Python otherwise.

Invariant: the very same columns as `documents` gives document by document, in the same order; documents that
the C calls odd are read in Python.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.mongodb.documents import read_documents
from connectors.mongodb.keys import exact_texts
from connectors.mongodb.layout import FieldColumns
from engine.documents import walking
from engine.documents.walking import ABSENT, ODD, SHARE, Places, Rows, codes_of, struct_of
from engine.kinds import Scalar, StructOf, arrow_type


def read_columns(layout: FieldColumns, data: bytes, starts: Places) -> pa.RecordBatch:
    """Turn the documents that begin at some places into a batch."""
    found = _read_in_c(layout, data, starts)
    if found is None:
        SHARE.count(len(starts), len(starts))
        return read_documents(layout, data, starts.tolist())
    rows, odd = found
    SHARE.count(len(starts), len(odd))
    if not len(odd):
        return rows
    order = np.arange(len(starts))
    order[odd] = len(starts) + np.arange(len(odd))
    others = read_documents(layout, data, starts[odd].tolist())
    return pa.concat_batches([rows, others]).take(pa.array(order))


def _read_in_c(layout: FieldColumns, data: bytes, starts: Places) -> tuple[pa.RecordBatch, Rows] | None:
    """Return a batch, and which of its rows have to be read in Python; None where all have."""
    words = walking.handed(layout.codec.notation)
    found = None if words is None else walking.columns(data, starts, words, layout.flat)
    if found is None:
        return None
    codes, *cells = found
    schema = layout.schema
    _, _, _, _, lists, _ = layout.flat
    fields = {column: cells[first : first + count] for column, _, first, count in lists}
    arrays = [
        _lists(cells[place], fields[place], column.kind)
        if isinstance(column.kind, StructOf)
        else _array(cells[place], bare=isinstance(column.kind, Scalar))
        for place, column in enumerate(schema.columns)
    ]
    if layout.key is not None:
        arrays[layout.key] = exact_texts(data, starts.tolist())
    return pa.RecordBatch.from_arrays(arrays, schema=schema.arrow()), np.flatnonzero(codes_of(codes) == ODD)


def _array(cell: Sequence[bytes], *, bare: bool) -> pa.Array:
    *made, codes = cell
    mask = _absent(codes)
    if not bare:
        return struct_of(made, mask)
    text, where, _, _ = made
    validity = None if mask is None else pc.invert(mask).buffers()[1]
    return pa.StringArray.from_buffers(len(codes), pa.py_buffer(where), pa.py_buffer(text), validity)


def _lists(cell: Sequence[bytes], fields: Sequence[Sequence[bytes]], kind: StructOf) -> pa.StructArray:
    """Return a column that `for_each` goes through."""
    _, where, _, _, codes = cell
    kinds = arrow_type(kind)
    element = kinds[0].type.value_type
    offsets = pa.Array.from_buffers(pa.int32(), len(codes) + 1, [None, pa.py_buffer(where)])
    parts = [_array(each, bare=False) for each in fields]
    values = pa.StructArray.from_arrays(parts, fields=list(element))
    lists = pa.ListArray.from_arrays(offsets, values, mask=_absent(codes))
    return pa.StructArray.from_arrays([lists, pa.nulls(len(codes), pa.string())], fields=list(kinds))


def _absent(codes: bytes) -> pa.Array | None:
    absent: Any = codes_of(codes) == ABSENT
    return pa.array(absent) if absent.any() else None
