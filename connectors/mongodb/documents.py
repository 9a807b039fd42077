"""Raw documents to the columns of a batch: in C where the extension was built, else one by one in Python.

Invariant: a field that isn't there is an Arrow null, one that is has its own type, one that is there twice
has a flaw. Both ways give the very same columns, in the same order; what the C calls odd is read in Python.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.mongodb.bson_values import (
    ARRAY,
    DOCUMENT,
    NULL,
    UNSUPPORTED,
    Walk,
    elements,
    first_flaw,
    placed,
)
from connectors.mongodb.keys import exact_texts
from connectors.mongodb.layout import Elements, FieldColumns, Node, scalar_id
from engine.contracts.documents import DocumentCodec
from engine.documents import walking
from engine.documents.reading import DocumentReader
from engine.documents.walking import ABSENT, ODD, SHARE, Places, Rows, codes_of, struct_of
from engine.kinds import Cell, ListOf, Scalar, StructOf, arrow_type, documents_array

TWICE = f"{UNSUPPORTED}: a name stands twice in one document"


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
        _list_column(cells[place], fields[place], column.kind)
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


def _list_column(cell: Sequence[bytes], fields: Sequence[Sequence[bytes]], kind: StructOf) -> pa.StructArray:
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


def read_documents(layout: FieldColumns, data: bytes, starts: Iterable[int]) -> pa.RecordBatch:
    """Turn the documents that begin at some places into a batch."""
    places = list(starts)
    rows = [_row(layout, data, start) for start in places]
    schema = layout.schema
    by_column: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(schema.columns)
    arrays: list[pa.Array] = [
        _lists(cells, column.kind) if isinstance(column.kind, StructOf) else documents_array(cells)
        for column, cells in zip(schema.columns, by_column, strict=True)
    ]
    if scalar_id(schema) is not None:
        wires = arrays[0].field("wire").to_pylist()
        arrays[0] = pa.array(DocumentReader(layout.codec).scalar_texts(wires), pa.string())
    if layout.key is not None:
        arrays[layout.key] = exact_texts(data, places)
    return pa.RecordBatch.from_arrays(arrays, schema=schema.arrow())


def _lists(cells: Sequence[Any], kind: StructOf) -> pa.StructArray:
    (_, list_kind), _ = kind.fields
    assert isinstance(list_kind, ListOf), "a list column's first field is the list"
    element_type = arrow_type(list_kind.element)
    found = [cell for cell, _ in cells]
    flat = [element for cell in found if cell is not None for element in cell]
    offsets = [0, *accumulate(len(cell or ()) for cell in found)]
    by_field: Sequence[Sequence[Any]] = list(zip(*flat, strict=True)) if flat else [()] * len(element_type)
    fields = [documents_array(part) for part in by_field]
    values = pa.StructArray.from_arrays(fields, fields=list(element_type))
    mask = pa.array([cell is None for cell in found], pa.bool_())
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=mask)
    flaws = pa.array([flaw for _, flaw in cells], pa.string())
    return pa.StructArray.from_arrays([lists, flaws], fields=list(arrow_type(kind)))


def _row(layout: FieldColumns, data: bytes, start: int) -> list[Any]:
    cells: list[Any] = [
        (None, None) if isinstance(column.kind, StructOf) else None for column in layout.schema.columns
    ]
    _collect(layout.tree, data, start, cells, layout.codec)
    if layout.rests:
        nowhere = frozenset.intersection(*(without for _, without in layout.rests))
        members = _members(data, start, nowhere, layout.codec)
        for column, without in layout.rests:
            cells[column] = _joined(members, without)
    return cells


def _collect(node: Node, data: bytes, at: int, cells: list[Any], codec: DocumentCodec) -> None:
    """Find what is wanted of a document."""
    seen: set[bytes] = set()
    children = node.children
    for kind, name, begin, _ in elements(data, at):
        child = children.get(name)
        if child is not None and name in seen:
            _spoil(child, cells, codec)
        elif child is not None:
            seen.add(name)
            _found(child, kind, data, begin, cells, codec)


def _found(node: Node, kind: int, data: bytes, at: int, cells: list[Any], codec: DocumentCodec) -> None:
    if node.column is not None:
        walk = Walk(codec)
        wire = walk.value(kind, data, at, 0)
        cells[node.column] = (wire, walk.size, walk.depth, walk.flaw)
    if node.elements is not None:
        cells[node.elements.column] = _elements(node.elements, kind, data, at, codec)
    if node.children and kind == DOCUMENT:
        _collect(node, data, at, cells, codec)


def _elements(
    wanted: Elements, kind: int, data: bytes, at: int, codec: DocumentCodec
) -> tuple[list[Any] | None, str | None]:
    if kind == NULL:
        return None, None
    if kind != ARRAY:
        return None, f"{UNSUPPORTED}: for_each needs a list, and {wanted.name} is none"
    found: list[Any] = []
    for inner, _, begin, _ in elements(data, at):
        cells: list[Any] = [None] * len(wanted.names)
        if inner == DOCUMENT:
            _collect(wanted.tree, data, begin, cells, codec)
        found.append(cells)
    return found, None


def _spoil(node: Node, cells: list[Any], codec: DocumentCodec) -> None:
    null: Cell = (codec.notation.null, codec.notation.null_size, 0, TWICE)
    for column in node.columns():
        lists = isinstance(cells[column], tuple) and len(cells[column]) == 2
        cells[column] = (None, TWICE) if lists else null


def _members(
    data: bytes, at: int, nowhere: frozenset[bytes], codec: DocumentCodec
) -> list[tuple[bytes, str, Cell]]:
    """Return every field of a document that goes somewhere: its name, the name as JSON, its value."""
    found: list[tuple[bytes, str, Cell]] = []
    walk = Walk(codec)
    for kind, name, begin, _ in elements(data, at):
        if name in nowhere:
            continue
        walk.begin()
        quoted = walk.name(name)
        wire = walk.value(kind, data, begin, 0)
        found.append((name, quoted, (wire, walk.size, walk.depth, walk.flaw)))
    return found


def _joined(members: Sequence[tuple[bytes, str, Cell]], without: frozenset[bytes]) -> Cell:
    texts: list[str] = []
    names: set[bytes] = set()
    size = depth = 0
    flaw: str | None = None
    for name, quoted, (wire, value_size, value_depth, value_flaw) in members:
        if name in without:
            continue
        texts.append(f",{quoted}:{wire}")
        size += value_size
        depth = max(depth, value_depth)
        if value_flaw is not None:
            flaw = first_flaw(flaw, placed(value_flaw, quoted))
        if name in names:
            flaw = TWICE
        names.add(name)
    return "".join(texts), size, depth, flaw
