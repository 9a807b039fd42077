"""The columns that a job wants of documents, as a tree of names to walk a document by.

Invariant: each column has exactly one place in the tree; the tree is the same in every process.
"""

from dataclasses import field, replace
from typing import Any

from connectors.mongodb.bson_values import BINARY, OBJECT_ID
from engine.contracts.documents import DocumentCodec
from engine.errors import JobError
from engine.frozen import dataclass
from engine.kinds import Column, Document, Kind, ListOf, Members, RowSchema, Scalar, StructOf
from engine.rules.fields import FLAW_FIELD, LIST_FIELD, Fields, ListFields

ID = "_id"
KEY = "_id (Extended JSON)"
"""The column that names a document where `_id`s may be of any type, so that their bare texts could meet."""
FIELD = Document(plain=True)
_NOBODY = -1
"""What the extension takes for no node, no column, no list."""
HEX = "0123456789abcdef"
"""What ObjectIds (24 digits) and UUIDs (32, with hyphens) are written in."""


@dataclass(slots=True)
class Node:
    """What is wanted of the value behind a name, and of the names in it if it is a document.

    `column` is its place among the columns; `elements` the list column that its elements go to.
    """

    column: int | None = None
    elements: "Elements | None" = None
    children: dict[bytes, "Node"] = field(default_factory=dict)

    def columns(self) -> list[int]:
        """Return every column in this part of the tree."""
        own = [] if self.column is None else [self.column]
        own += [] if self.elements is None else [self.elements.column]
        return own + [column for child in self.children.values() for column in child.columns()]


@dataclass(frozen=True, slots=True)
class Elements:
    """A list that is taken apart into `column`: what is wanted of each element, its fields counted from 0."""

    column: int
    name: str
    names: tuple[str, ...]
    tree: Node


@dataclass(frozen=True, slots=True)
class FieldColumns:
    """All columns of a batch, whose documents `codec` writes.

    Shape: `rests` are the columns of Members with the names that they leave out; `key` the column KEY, where
    there is one; `flat` the whole as the extension takes it, see engine/documents/c/bson_columns.c.
    """

    schema: RowSchema
    codec: DocumentCodec
    tree: Node
    rests: tuple[tuple[int, frozenset[bytes]], ...]
    key: int | None
    flat: tuple[Any, ...]


def id_column(kind: Kind, types: frozenset[int]) -> Column:
    """Return the column of `_id`s of a kind. `types`: their BSON types, where those are proved."""
    if types == {OBJECT_ID}:
        return Column(ID, kind, signs=HEX, width=24)
    if types == {BINARY}:
        return Column(ID, kind, signs=f"{HEX}-", width=36)
    return Column(ID, kind)


def schema_of(fields: Fields, id_: Column, *, keyed: bool, unique: bool) -> RowSchema:
    """Return the schema of the batches: a column for each field that rules name, `_id` always among them.

    `keyed`: the source can be read from an `_id`; `unique`: each is there once.
    Raises: JobError when a rule names a field like the column KEY.
    """
    if KEY in fields.paths:
        raise JobError(f"items: a field can't be called {KEY!r}, which is how documents are named here")
    columns = [replace(id_, hidden=ID not in fields.paths)]
    columns += [Column(name, FIELD) for name in fields.paths if name != ID]
    columns += [Column(name, _list_kind(found)) for name, found in fields.lists.items()]
    columns += [Column(name, Members()) for name in fields.rests]
    key: tuple[str, ...] = ()
    if keyed:
        key = (ID,) if isinstance(id_.kind, Scalar) else (KEY,)
    columns += [Column(KEY, Scalar.STRING, hidden=True)] if key == (KEY,) else []
    identities = (frozenset({ID}),) if unique else ()
    return RowSchema(tuple(columns), key, identities, open=True)


def layout_of(fields: Fields, schema: RowSchema, codec: DocumentCodec) -> FieldColumns:
    """Put the columns into a tree."""
    places = {column.name: place for place, column in enumerate(schema.columns)}
    tree = Node()
    _at(tree, (ID,)).column = places[ID]
    for name, path in fields.paths.items():
        _at(tree, path).column = places[name]
    for name, found in fields.lists.items():
        _at(tree, found.path).elements = _elements(places[name], found)
    rests = tuple(
        (places[name], frozenset(each.encode() for each in without)) for name, without in fields.rests.items()
    )
    return FieldColumns(schema, codec, tree, rests, places.get(KEY), _Flat(schema, tree, rests).handed())


def scalar_id(schema: RowSchema) -> Scalar | None:
    """Return the kind of `_id` if one has been proved."""
    kind = schema.columns[0].kind
    return kind if isinstance(kind, Scalar) else None


class _Flat:
    """A layout without branches: nodes say whose child they are, lists which node stands for an element."""

    __slots__ = ("_cells", "_columns", "_left_out", "_lists", "_nodes", "_rests", "_scalar")

    def __init__(
        self, schema: RowSchema, tree: Node, rests: tuple[tuple[int, frozenset[bytes]], ...]
    ) -> None:
        self._columns = self._cells = len(schema.columns)
        self._rests = tuple(column for column, _ in rests)
        self._scalar = scalar_id(schema) is not None
        self._nodes: list[tuple[Any, ...]] = []
        self._lists: list[tuple[int, int, int, int]] = []
        self._left_out: dict[bytes, int] = {}
        for bit, (_, without) in enumerate(rests):
            for name in without:
                self._left_out[name] = self._left_out.get(name, 0) | 1 << bit
        self._add(b"", Node(children={name: Node() for name in self._left_out} | tree.children), _NOBODY, 0)

    def handed(self) -> tuple[Any, ...]:
        """Return it as bson_columns.c takes it."""
        bare = 0 if self._scalar else _NOBODY
        return self._columns, self._cells, bare, tuple(self._nodes), tuple(self._lists), self._rests

    def _add(self, name: bytes, node: Node, parent: int, first: int) -> int:
        """Add a node and all below it, whose columns are counted from `first`."""
        number, own = len(self._nodes), _NOBODY if node.column is None else first + node.column
        left_out = self._left_out.get(name, 0) if parent == 0 else 0
        self._nodes.append(())
        inside = _NOBODY if node.elements is None else self._add_list(node.elements)
        self._nodes[number] = (name, parent, own, inside, left_out, bool(node.children))
        for each, child in node.children.items():
            self._add(each, child, number, first)
        return number

    def _add_list(self, wanted: Elements) -> int:
        first, self._cells = self._cells, self._cells + len(wanted.names)
        root = self._add(b"", wanted.tree, _NOBODY, first)
        self._lists.append((wanted.column, root, first, len(wanted.names)))
        return len(self._lists) - 1


def _elements(column: int, found: ListFields) -> Elements:
    tree = Node()
    for place, path in enumerate(found.fields.values()):
        _at(tree, path).column = place
    return Elements(column, ".".join(found.path), tuple(found.fields), tree)


def _list_kind(found: ListFields) -> StructOf:
    element = StructOf(tuple((name, FIELD) for name in found.fields))
    return StructOf(((LIST_FIELD, ListOf(element)), (FLAW_FIELD, Scalar.STRING)))


def _at(tree: Node, path: tuple[str, ...]) -> Node:
    for name in path:
        tree = tree.children.setdefault(name.encode(), Node())
    return tree
