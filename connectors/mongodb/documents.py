"""Raw documents to the columns of a batch in Python, document by document: what the walk in C is held to.

Invariant: a field that isn't there is an Arrow null, one that is has its own type, one that is there twice
has a flaw; whatever reads documents in another way must give the very same columns.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import pyarrow as pa

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
from engine.documents.reading import DocumentReader
from engine.kinds import Cell, ListOf, StructOf, arrow_type, documents_array

TWICE = f"{UNSUPPORTED}: a name stands twice in one document"


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
