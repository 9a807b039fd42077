"""Raw documents to the columns of a batch in Python, all documents of one shape at once. Pure.

Invariant: the very same columns as `documents` gives document by document, in the same order.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from connectors.mongodb.bson_values import NULL, UNSUPPORTED, Walk, first_flaw, flaw_within, placed
from connectors.mongodb.documents import read_documents
from connectors.mongodb.keys import exact_texts
from connectors.mongodb.layout import Elements, FieldColumns, Node, scalar_id
from connectors.mongodb.leaves import Depths, Part, Piece, Sizes, leaf
from connectors.mongodb.shapes import PADDING, Leaf, List, Map, Octets, Places, Shape, groups
from engine.contracts.documents import DocumentCodec, Notation
from engine.documents.cutting import scalar_texts
from engine.kinds import DOCUMENT_TYPE, ListOf, StructOf, arrow_type


def read_by_shape(layout: FieldColumns, data: bytes, starts: Places) -> pa.RecordBatch:
    """Turn the documents that begin at some places into a batch."""
    octets = np.frombuffer(data + bytes(PADDING), np.uint8)
    parts: list[pa.RecordBatch] = []
    order: list[Places] = []
    for group in groups(layout, data, octets, starts):
        if group.shape is None:
            parts.append(read_documents(layout, data, starts[group.rows].tolist()))
        else:
            parts.append(_Columns(layout, data, octets, starts[group.rows]).batch(group.shape))
        order.append(group.rows)
    if len(parts) == 1:
        return parts[0]
    places = np.argsort(np.concatenate(order), kind="stable")
    return pa.concat_batches(parts).take(pa.array(places))


class _Columns:
    """The columns of one group."""

    __slots__ = ("_codec", "_data", "_layout", "_octets", "_rows", "_starts")

    def __init__(self, layout: FieldColumns, data: bytes, octets: Octets, starts: Places) -> None:
        self._layout = layout
        self._codec = layout.codec
        self._data = data
        self._octets = octets
        self._starts = starts
        self._rows = len(starts)

    def batch(self, shape: Map) -> pa.RecordBatch:
        """Return the group's documents as a batch."""
        layout = self._layout
        found: dict[int, pa.Array] = {}
        self._collect(shape, layout.tree, self._rows, found)
        if layout.rests:
            members = [(name, self._part(member, self._rows)) for name, member in shape.members]
            for column, without in layout.rests:
                kept = [(name, part) for name, part in members if name not in without]
                found[column] = rendered(_spread(kept, self._codec), self._rows)
        schema = layout.schema
        if scalar_id(schema) is not None:
            found[0] = _arrow_text(scalar_texts(pl.Series(found[0].field("wire")), self._codec))
        if layout.key is not None:
            found[layout.key] = exact_texts(self._data, self._starts.tolist())
        arrow = schema.arrow()
        arrays = [
            found[place] if place in found else _missing(column.kind, self._rows)
            for place, column in enumerate(schema.columns)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=arrow)

    def _collect(self, shape: Map, node: Node, rows: int, found: dict[int, pa.Array]) -> None:
        for name, member in shape.members:
            child = node.children.get(name)
            if child is None:
                continue
            if child.column is not None:
                found[child.column] = rendered(self._part(member, rows), rows)
            if child.elements is not None:
                found[child.elements.column] = self._elements(member, child.elements, rows)
            if child.children and isinstance(member, Map):
                self._collect(member, child, rows, found)

    def _elements(self, shape: Shape, wanted: Elements, rows: int) -> pa.Array:
        kind = self._layout.schema.columns[wanted.column].kind
        if not isinstance(shape, List):
            null = isinstance(shape, Leaf) and shape.kind == NULL
            flaw = None if null else f"{UNSUPPORTED}: for_each needs a list, and {wanted.name} is none"
            return _lists(kind, np.zeros(rows, np.int64), {}, flaw, present=False)
        found: dict[int, pa.Array] = {}
        if isinstance(shape.elements, Map):
            self._collect(shape.elements, wanted.tree, int(shape.counts.sum()), found)
        return _lists(kind, shape.counts, found, None, present=True)

    def _part(self, shape: Shape, rows: int) -> Part:
        notation = self._codec.notation
        match shape:
            case Leaf():
                return leaf(shape, self._data, self._octets, self._codec)
            case Map(members=members):
                return _map([(name, self._part(member, rows)) for name, member in members], self._codec)
            case List(elements=None):
                return Part(("".join(notation.list),), notation.container_size)
            case List(counts=counts, elements=elements):
                assert elements is not None, "lists without elements are matched before"
                return _list(counts, self._part(elements, int(counts.sum())), notation)


def rendered(part: Part, rows: int) -> pa.StructArray:
    """Return a part as a column of documents."""
    flaws = pa.nulls(rows, pa.string())
    if part.flaws:
        flaws = pa.array([part.flaws.get(row) for row in range(rows)], pa.string())
    arrays = [
        _arrow_text(_text(part.pieces, rows)),
        pa.array(np.broadcast_to(np.asarray(part.size, np.int64), rows)),
        pa.array(np.broadcast_to(np.asarray(part.depth, np.int32), rows)),
        flaws,
    ]
    return pa.StructArray.from_arrays(arrays, fields=list(DOCUMENT_TYPE))


def _text(pieces: Sequence[Piece], rows: int) -> pl.Series:
    template = ""
    columns: list[pl.Series] = []
    for piece in pieces:
        if isinstance(piece, str):
            template += piece.replace("{", "{{").replace("}", "}}")
        else:
            template += "{}"
            columns.append(piece)
    if not columns:
        return pl.repeat("".join(str(piece) for piece in pieces), rows, eager=True, dtype=pl.String)
    names = [str(place) for place in range(len(columns))]
    frame = pl.DataFrame([column.alias(name) for name, column in zip(names, columns, strict=True)])
    return frame.select(pl.format(template, *names).alias("")).to_series()


def _arrow_text(texts: pl.Series) -> pa.StringArray:
    return texts.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.string())


def _map(members: Sequence[tuple[bytes, Part]], codec: DocumentCodec) -> Part:
    notation = codec.notation
    pieces: list[Piece] = [notation.map.before]
    size: Sizes = notation.container_size
    deepest: Depths = 0
    for place, (name, part) in enumerate(members):
        pieces += [("," if place else "") + _name(name, codec) + ":", *part.pieces]
        size = size + part.size + len(name) + notation.element_size
        deepest = _deeper(deepest, part.depth)
    pieces.append(notation.map.after)
    depth = deepest + 1 if members else 0
    return Part(tuple(pieces), size, depth, _flaws([part.flaws for _, part in members], flaw_within))


def _spread(members: Sequence[tuple[bytes, Part]], codec: DocumentCodec) -> Part:
    """Return fields as Members: each behind a comma, with its name in its flaws."""
    pieces: list[Piece] = [""]
    size: Sizes = 0
    depth: Depths = 0
    flaws: list[Mapping[int, str]] = []
    for name, part in members:
        quoted = _name(name, codec)
        pieces += [f",{quoted}:", *part.pieces]
        size = size + part.size + len(name)
        depth = _deeper(depth, part.depth)
        flaws.append({row: placed(flaw, quoted) for row, flaw in part.flaws.items()})
    return Part(tuple(pieces), size, depth, _flaws(flaws, first_flaw))


def _list(counts: Places, elements: Part, notation: Notation) -> Part:
    total = int(counts.sum())
    texts = _text(elements.pieces, total)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    large = texts.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    joined = pl.Series(pa.LargeListArray.from_arrays(pa.array(offsets), large)).list.join(",")
    owners = np.repeat(np.arange(len(counts)), counts)
    sizes = np.bincount(
        owners, np.broadcast_to(np.asarray(elements.size), total), minlength=len(counts)
    ).astype(np.int64)
    depths = np.zeros(len(counts), np.int32)
    np.maximum.at(depths, owners, np.broadcast_to(np.asarray(elements.depth, np.int32), total) + 1)
    flaws: dict[int, str] = {}
    for element, flaw in sorted(elements.flaws.items()):
        row = int(owners[element])
        flaws[row] = flaw_within(flaws.get(row), flaw)
    sizes += notation.container_size + notation.element_size * counts
    return Part((notation.list.before, joined, notation.list.after), sizes, depths, flaws)


def _deeper(one: Depths, other: Depths) -> Depths:
    if isinstance(one, int) and isinstance(other, int):
        return max(one, other)
    return np.maximum(one, other).astype(np.int32)


def _flaws(found: Sequence[Mapping[int, str]], kept: Callable[[str | None, str], str]) -> Mapping[int, str]:
    flaws: dict[int, str] = {}
    for part in found:
        for row, flaw in part.items():
            flaws[row] = kept(flaws.get(row), flaw)
    return flaws


def _name(name: bytes, codec: DocumentCodec) -> str:
    return Walk(codec).name(name)


def _missing(kind: Any, rows: int) -> pa.Array:
    if isinstance(kind, StructOf):
        return _lists(kind, np.zeros(rows, np.int64), {}, None, present=False)
    return pa.nulls(rows, arrow_type(kind))


def _lists(
    kind: Any, counts: Places, fields: Mapping[int, pa.Array], flaw: str | None, *, present: bool
) -> pa.StructArray:
    """Return a column that `for_each` goes through."""
    list_kind = kind.fields[0][1]
    assert isinstance(list_kind, ListOf), "a list column's first field is the list"
    element_type = arrow_type(list_kind.element)
    total = int(counts.sum())
    arrays = [
        fields[place] if place in fields else pa.nulls(total, part.type)
        for place, part in enumerate(element_type)
    ]
    values = pa.StructArray.from_arrays(arrays, fields=list(element_type))
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    mask = None if present else pa.array(np.ones(len(counts), np.bool_))
    lists = pa.ListArray.from_arrays(pa.array(offsets), values, mask=mask)
    flaws = pa.array([flaw] * len(counts), pa.string())
    return pa.StructArray.from_arrays([lists, flaws], fields=list(arrow_type(kind)))
