"""From PostgreSQL types to kinds: what a column becomes, and the SQL that hands its values over.

Invariant: the server only ever prints values with their types' own output functions; nothing is rounded, and
JSON that the server builds has no leaves but strings and null. No name is left to the search_path. Pure.
"""

# ruff: noqa: S608 - SQL is built here; every name and value in it goes through quoting.py

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, TypeAlias

from connectors.postgres.quoting import identifier, literal, operator
from engine.frozen import dataclass
from engine.kinds import Decimal, Document, Kind, ListOf, Scalar, StructOf
from engine.plain import OneOf

NUMERIC_DIGITS_MAX = 38
"""The widest numeric that columns can compute with exactly (a 128-bit decimal)."""

NATIVE = frozenset(
    {
        *("int2", "int4", "int8", "oid", "float4", "float8", "numeric", "bool", "bytea", "uuid"),
        *("date", "time", "timetz", "timestamp", "timestamptz", "interval", "text", "varchar", "bpchar"),
    }
)
"""Types of pg_catalog whose values, if they print alike, are equal by pg_catalog's `=`, as enums are too:
then an index helps. Of other types what they print may not lead back to one value (regproc), there may be no
`=` (xml), or one that the search_path finds (citext): their texts are compared.
"""


class Reading(Enum):
    """How the text that PostgreSQL prints becomes canonical text."""

    AS_IS = "as is"
    BOOL = "bool"
    BYTEA = "bytea"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIMESTAMPTZ = "timestamptz"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class TypeRow:
    """One row of pg_type with its composite's attributes. `typtype` as in the catalog: b c d e m p r."""

    oid: int
    name: str
    typtype: str
    category: str
    delimiter: str
    element: int
    base: int
    base_typmod: int
    attributes: tuple[tuple[str, int, int], ...] = ()
    """Name, type and typmod of each attribute of a composite."""
    labels: tuple[str, ...] = ()
    """The values of an enum."""


@dataclass(frozen=True, slots=True)
class Printed:
    """A value that is printed as one text. `castable`: `::text` gives what the output function prints."""

    kind: Kind
    reading: Reading = Reading.AS_IS
    castable: bool = False


@dataclass(frozen=True, slots=True)
class Nested:
    """An array of leaves of any number of dimensions, which becomes a document."""

    leaf: Printed


@dataclass(frozen=True, slots=True)
class JsonArray:
    """An array of json or jsonb of any number of dimensions, which becomes a document."""


@dataclass(frozen=True, slots=True)
class ArrayOf:
    """An array of one dimension. `splits`: its text form splits into its elements' texts at commas."""

    element: "Node"
    splits: bool


@dataclass(frozen=True, slots=True)
class Composite:
    """A composite value."""

    fields: tuple[tuple[str, "Node"], ...]


Node: TypeAlias = Annotated[Printed | Nested | JsonArray | ArrayOf | Composite, OneOf()]

_STRING = Printed(Scalar.STRING)
_LEAVES: Mapping[str, Printed] = {
    "int2": Printed(Scalar.INT, castable=True),
    "int4": Printed(Scalar.INT, castable=True),
    "int8": Printed(Scalar.INT, castable=True),
    "oid": Printed(Scalar.INT, castable=True),
    "float4": Printed(Scalar.FLOAT, castable=True),
    "float8": Printed(Scalar.FLOAT, castable=True),
    "bool": Printed(Scalar.BOOL, Reading.BOOL),
    "bytea": Printed(Scalar.BINARY, Reading.BYTEA, castable=True),
    "date": Printed(Scalar.DATE, Reading.DATE, castable=True),
    "time": Printed(Scalar.TIME, castable=True),
    "timestamp": Printed(Scalar.TIMESTAMP, Reading.TIMESTAMP, castable=True),
    "timestamptz": Printed(Scalar.TIMESTAMPTZ, Reading.TIMESTAMPTZ, castable=True),
    "json": Printed(Document(), Reading.JSON, castable=True),
    "jsonb": Printed(Document(), Reading.JSON, castable=True),
    **dict.fromkeys(("text", "varchar", "uuid", "interval", "timetz"), Printed(Scalar.STRING, castable=True)),
}
"""By the name in pg_catalog; every other scalar is a string as PostgreSQL prints it. castable only where it
is known: `::text` strips char(n), adds a netmask to inet, and takes a cast that somebody made for an enum."""

_TYPMOD_HEADER = 4
_VARIABLE_HEADER = 4
"""What a typmod has above the n of char(n). Source: anychar_typmodout in PostgreSQL's varchar.c."""


def numeric(typmod: int) -> Printed:
    """Return how a numeric column with this typmod is read; -1 is one without limits.

    Source: numerictypmodin and numeric_typmod_scale in PostgreSQL's src/backend/utils/adt/numeric.c.
    """
    if typmod >= _TYPMOD_HEADER:
        packed = typmod - _TYPMOD_HEADER
        precision, scale = packed >> 16 & 0xFFFF, ((packed & 0x7FF) ^ 0x400) - 0x400
        if precision <= NUMERIC_DIGITS_MAX and 0 <= scale <= precision:
            return Printed(Decimal(precision, scale), castable=True)
    return Printed(Scalar.NUMBER, castable=True)


def node_of(types: Mapping[int, TypeRow], oid: int, typmod: int, *, flat: bool = False) -> Node:
    """Return how values of a type are read. `flat`: an array is proved to have one dimension at most."""
    row = types[oid]
    if row.typtype == "d":
        return node_of(types, row.base, row.base_typmod if typmod < 0 else typmod, flat=flat)
    if row.category == "A" and row.element:
        return _array(row, node_of(types, row.element, typmod), types, flat=flat)
    if row.typtype == "c" and row.attributes:
        return Composite(tuple((name, node_of(types, type_, mod)) for name, type_, mod in row.attributes))
    if row.name == "numeric":
        return numeric(typmod)
    return _LEAVES.get(row.name, _STRING)


def spelled(types: Mapping[int, TypeRow], oid: int, typmod: int) -> tuple[str | None, int | None]:
    """Return all the characters of a scalar type's texts and how many each has, where the type fixes them."""
    row = types[oid]
    if row.typtype == "d":
        return spelled(types, row.base, row.base_typmod if typmod < 0 else typmod)
    if row.typtype == "e":
        return "".join(sorted({char for label in row.labels for char in label})), None
    if row.name == "uuid":
        return "0123456789abcdef-", len("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
    if row.name == "bpchar" and typmod > _VARIABLE_HEADER:
        return None, typmod - _VARIABLE_HEADER
    return None, None


def _array(row: TypeRow, element: Node, types: Mapping[int, TypeRow], *, flat: bool) -> Node:
    splits = row.delimiter == "," and isinstance(element, Printed) and types[row.element].typtype != "c"
    if not splits:
        return ArrayOf(element, splits=False)
    assert isinstance(element, Printed)
    if element.reading is Reading.JSON:
        return JsonArray()
    return ArrayOf(element, splits=True) if flat else Nested(element)


def has_free_dimensions(node: Node) -> bool:
    """Whether a column of this node would be a list if only all its values had one dimension."""
    return isinstance(node, Nested)


def kind_of(node: Node) -> Kind:
    """Return the kind that values of a node have once they are read."""
    match node:
        case Printed(kind=kind):
            return kind
        case Nested() | JsonArray():
            return Document()
        case ArrayOf(element=element):
            return ListOf(kind_of(element))
        case Composite(fields=fields):
            return StructOf(tuple((name, kind_of(field)) for name, field in fields))


def column_sql(node: Node, ref: str) -> str:
    """Return the SQL of a whole column: its own text for leaves, JSON text for everything else."""
    return ref if isinstance(node, Printed) else json_sql(node, ref)


def json_sql(node: Node, ref: str, depth: int = 0) -> str:
    """Return the SQL of a value inside JSON. A document arrives as its text, so as a string inside JSON."""
    match node:
        case Printed(castable=castable):
            return _printed(ref, castable=castable)
        case Nested(leaf=leaf):
            return f"{_texts(leaf, ref)}::pg_catalog.text"
        case JsonArray():
            return f"pg_catalog.to_json({ref})::pg_catalog.text"
        case ArrayOf(element=Printed() as leaf, splits=True):
            return _texts(leaf, ref)
        case ArrayOf(element=element):
            return _elements_sql(element, ref, depth)
        case Composite(fields=fields):
            inner = ", ".join(
                f"{json_sql(field, f'({ref}).{identifier(name)}', depth + 1)} AS {identifier(name)}"
                for name, field in fields
            )
            # A composite of nulls IS NULL too; only a null composite is not distinct from NULL.
            return f"CASE WHEN {ref} IS DISTINCT FROM NULL THEN {object_sql(node, inner)} END"


def _printed(ref: str, *, castable: bool) -> str:
    """Return the SQL of what a value's output function prints."""
    if castable:
        return f"{ref}::pg_catalog.text"
    return f"CASE WHEN {ref} IS NOT NULL THEN pg_catalog.format('%s', {ref}) END"


def _texts(leaf: Printed, ref: str) -> str:
    """Return the SQL of an array of leaves as JSON, each as it prints, with the array's own commas."""
    return f"pg_catalog.to_json(({_printed(ref, castable=leaf.castable)})::pg_catalog.text[])"


def object_sql(fields: Composite, selected: str) -> str:
    """Build a JSON object from a select list of the fields."""
    alias = "object"
    while any(name == alias for name, _ in fields.fields):
        alias += "_"  # a field of this name would be taken for the whole row
    return f'(SELECT pg_catalog.row_to_json("{alias}") FROM (SELECT {selected}) AS "{alias}")'


def _elements_sql(element: Node, ref: str, depth: int) -> str:
    """Build JSON element by element; an array of several dimensions is a server error, never a loss."""
    index = f'"index {depth}"'
    refusal = literal("an array of several dimensions whose elements are not plain values")
    return (
        f"CASE WHEN pg_catalog.array_ndims({ref}) {operator('>')} 1 THEN pg_catalog.to_json("
        f"pg_catalog.concat({refusal}, pg_catalog.left({ref}::pg_catalog.text, 0))::pg_catalog.int4)"
        f" WHEN {ref} IS NOT NULL THEN (SELECT coalesce(pg_catalog.json_agg("
        f"{json_sql(element, f'({ref})[{index}]', depth + 1)} ORDER BY {index}), '[]'::pg_catalog.json)"
        f" FROM pg_catalog.generate_subscripts({ref}, 1) AS {index}) END"
    )
