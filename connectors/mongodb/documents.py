"""Raw documents to the columns of a batch, document by document: the way for whatever has no common shape.

Invariant: a field that isn't there is an Arrow null, one that is has its own type, one that is there twice
has a flaw; whatever reads documents in another way must give the very same columns.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import orjson
import pyarrow as pa

from connectors.mongodb.bson_values import ARRAY, DOCUMENT, NULL, UNSUPPORTED, Walk, skipped
from connectors.mongodb.keys import exact_texts
from connectors.mongodb.layout import Elements, FieldColumns, Node, scalar_id
from engine.kinds import DOCUMENT_TYPE, ListOf, Scalar, StructOf, arrow_type

Cell: TypeAlias = tuple[str, int, int, str | None]
"""A value of kinds.DOCUMENT_TYPE."""
TWICE = f"{UNSUPPORTED}: a name stands twice in one document"
_NOTHING: Cell = ("", 0, 0, None)


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
    if (kind := scalar_id(schema)) is not None:
        arrays[0] = _texts(by_column[0], kind)
    if layout.key is not None:
        arrays[layout.key] = exact_texts(data, places)
    return pa.RecordBatch.from_arrays(arrays, schema=schema.arrow())


def documents_array(cells: Sequence[Cell | None]) -> pa.StructArray:
    """Put cells into a column of documents."""
    columns = zip(*[cell or _NOTHING for cell in cells], strict=True) if cells else ((), (), (), ())
    arrays = [pa.array(part, type=f.type) for part, f in zip(columns, DOCUMENT_TYPE, strict=True)]
    mask = pa.array([cell is None for cell in cells], type=pa.bool_())
    return pa.StructArray.from_arrays(arrays, fields=list(DOCUMENT_TYPE), mask=mask)


def _texts(cells: Sequence[Cell | None], kind: Scalar) -> pa.Array:
    assert kind in (Scalar.STRING, Scalar.NUMBER), "no other kind of _id is ever proved"
    texts: list[str] = []
    for cell in cells:
        assert cell is not None, "a document from a collection has an _id"
        ((_, text),) = orjson.loads(cell[0]).items()
        texts.append(text)
    return pa.array(texts, pa.string())


def _lists(cells: Sequence[Any], kind: StructOf) -> pa.StructArray:
    (_, list_kind), _ = kind.fields
    assert isinstance(list_kind, ListOf), "a list column's first field is the list"
    element_type = arrow_type(list_kind.element)
    found = [elements for elements, _ in cells]
    flat = [element for elements in found if elements is not None for element in elements]
    offsets = [0]
    for elements in found:
        offsets.append(offsets[-1] + len(elements or ()))
    by_field: Sequence[Sequence[Any]] = list(zip(*flat, strict=True)) if flat else [()] * len(element_type)
    fields = [documents_array(part) for part in by_field]
    values = pa.StructArray.from_arrays(fields, fields=list(element_type))
    mask = pa.array([elements is None for elements in found], pa.bool_())
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=mask)
    flaws = pa.array([flaw for _, flaw in cells], pa.string())
    return pa.StructArray.from_arrays([lists, flaws], fields=list(arrow_type(kind)))


def _row(layout: FieldColumns, data: bytes, start: int) -> list[Any]:
    cells: list[Any] = [
        (None, None) if isinstance(column.kind, StructOf) else None for column in layout.schema.columns
    ]
    _collect(layout.tree, data, start, cells)
    if layout.rests:
        members = _members(data, start)
        for column, without in layout.rests:
            cells[column] = _joined(members, without)
    return cells


def _collect(node: Node, data: bytes, at: int, cells: list[Any]) -> None:
    """Find what is wanted of a document."""
    seen: set[bytes] = set()
    children = node.children
    at += 4
    while kind := data[at]:
        end = data.index(0, at)
        child = children.get(data[at + 1 : end])
        if child is not None:
            name = data[at + 1 : end]
            if name in seen:
                _spoil(child, cells)
            else:
                seen.add(name)
                _found(child, kind, data, end + 1, cells)
        at = skipped(kind, data, end + 1)


def _found(node: Node, kind: int, data: bytes, at: int, cells: list[Any]) -> None:
    if node.column is not None:
        walk = Walk()
        wire = walk.value(kind, data, at, 0)
        cells[node.column] = (wire, walk.size, walk.depth, walk.flaw)
    if node.elements is not None:
        cells[node.elements.column] = _elements(node.elements, kind, data, at)
    if node.children and kind == DOCUMENT:
        _collect(node, data, at, cells)


def _elements(wanted: Elements, kind: int, data: bytes, at: int) -> tuple[list[Any] | None, str | None]:
    if kind == NULL:
        return None, None
    if kind != ARRAY:
        return None, f"{UNSUPPORTED}: for_each needs a list, and {wanted.name} is none"
    found: list[Any] = []
    at += 4
    while kind := data[at]:
        at = data.index(0, at) + 1
        cells: list[Any] = [None] * len(wanted.names)
        if kind == DOCUMENT:
            _collect(wanted.tree, data, at, cells)
        found.append(cells)
        at = skipped(kind, data, at)
    return found, None


def _spoil(node: Node, cells: list[Any]) -> None:
    for column in node.columns():
        lists = isinstance(cells[column], tuple) and len(cells[column]) == 2
        cells[column] = (None, TWICE) if lists else ('{"NULL":true}', 1, 0, TWICE)


def _members(data: bytes, at: int) -> list[tuple[bytes, str, Cell]]:
    """Return every field of a document: its name, the name as JSON, its value."""
    found: list[tuple[bytes, str, Cell]] = []
    walk = Walk()
    at += 4
    while kind := data[at]:
        end = data.index(0, at)
        name = data[at + 1 : end]
        walk.begin()
        quoted = walk.name(name)
        wire = walk.value(kind, data, end + 1, 0)
        found.append((name, quoted, (wire, walk.size, walk.depth, walk.flaw)))
        at = skipped(kind, data, end + 1)
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
        if value_flaw is not None and (flaw is None or flaw.startswith("number_")):
            reason, _, detail = value_flaw.partition(": ")
            placed = f"{reason}: {quoted[1:-1]}: {detail}"
            flaw = placed if flaw is None or not reason.startswith("number_") else flaw
        if name in names:
            flaw = TWICE
        names.add(name)
    return "".join(texts), size, depth, flaw
