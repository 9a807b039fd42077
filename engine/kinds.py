"""The kinds of values that a source hands over, and the one Arrow representation of each.

A scalar travels as its canonical text, because it arrives as text and leaves as text: parsing and printing
it again would cost time and could alter it. Whoever needs a typed value (SQL rules, the `transform` hook,
formats) casts that column and no other.

Invariant: an Arrow null is SQL NULL or a missing field, and nothing else.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Annotated, TypeAlias

import pyarrow as pa

from engine.frozen import dataclass
from engine.plain import OneOf


class Scalar(Enum):
    """A kind whose values are text in a `string` column.

    Shape, by member: INT `-12`; NUMBER `12.50`, `NaN`, `Infinity` (an exact decimal as its source prints it);
    FLOAT `1e-07`, `NaN`, `-Infinity` (shortest text that reads back to the same double); BOOL `true`/`false`;
    STRING itself; BINARY standard base64 with padding; TIMESTAMPTZ `2024-01-15T10:00:00.5Z` (UTC, the
    fraction only when not zero), `infinity`, `-infinity`; TIMESTAMP the same without `Z`;
    DATE `2024-01-15`; TIME `10:00:00.5`.
    """

    INT = "int"
    NUMBER = "number"
    FLOAT = "float"
    BOOL = "bool"
    STRING = "string"
    BINARY = "binary"
    TIMESTAMPTZ = "timestamptz"
    TIMESTAMP = "timestamp"
    DATE = "date"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Decimal:
    """A NUMBER whose declared precision and scale hold every value but NaN, so that SQL can compute with it.

    Units: `precision` total digits (1-38), `scale` digits after the point (0-precision).
    """

    precision: int
    scale: int


@dataclass(frozen=True, slots=True)
class Document:
    """A value of any shape, already written as the target writes it; see contracts.documents.

    Shape: the struct DOCUMENT_TYPE. `wire` is the value's text in the target's notation; `size` its size as
    the target counts it in bytes, attribute name not included; `depth` how many lists and maps enclose its
    deepest value; `flaw` is null, or why it can't be written, as `reason: detail` with a dead-letter reason.

    `plain`: SQL and hooks see a scalar as its own text and NULL as null, instead of as JSON; for sources in
    which any field may hold a document, and few do.
    """

    plain: bool = False


@dataclass(frozen=True, slots=True)
class Members:
    """Attributes whose names are each row's own: the fields of a document that no rule names.

    Shape: the struct DOCUMENT_TYPE. `wire` is `,"a":…,"b":…`, each member behind a comma, or the empty text;
    `size` counts names and values, `depth` as an attribute's own.
    """


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list column, Arrow `list<element>`; a null element is NULL in the list."""

    element: "Kind"


@dataclass(frozen=True, slots=True)
class SetOf:
    """A set of texts, numbers or binaries, Arrow `list<string>`."""

    element: Scalar


@dataclass(frozen=True, slots=True)
class StructOf:
    """A struct column, Arrow `struct<…>`; fields in their order."""

    fields: tuple[tuple[str, "Kind"], ...]


Kind: TypeAlias = Annotated[Scalar | Decimal | Document | Members | ListOf | SetOf | StructOf, OneOf()]

DOCUMENT_TYPE = pa.struct(
    [("wire", pa.string()), ("size", pa.int64()), ("depth", pa.int32()), ("flaw", pa.string())]
)

Cell: TypeAlias = tuple[str, int, int, str | None]
"""A value of DOCUMENT_TYPE."""
_NOTHING: Cell = ("", 0, 0, None)


def documents_array(cells: Sequence[Cell | None]) -> pa.StructArray:
    """Put cells into a column of documents."""
    columns = zip(*[cell or _NOTHING for cell in cells], strict=True) if cells else ((), (), (), ())
    arrays = [pa.array(part, type=f.type) for part, f in zip(columns, DOCUMENT_TYPE, strict=True)]
    mask = pa.array([cell is None for cell in cells], type=pa.bool_())
    return pa.StructArray.from_arrays(arrays, fields=list(DOCUMENT_TYPE), mask=mask)


def arrow_type(kind: Kind) -> pa.DataType:
    """Return the Arrow type that values of a kind travel in."""
    match kind:
        case Scalar() | Decimal():
            return pa.string()
        case Document() | Members():
            return DOCUMENT_TYPE
        case ListOf(element) | SetOf(element):
            return pa.list_(arrow_type(element))
        case StructOf(fields):
            return pa.struct([(name, arrow_type(field)) for name, field in fields])


def type_name(kind: Kind) -> str:
    """Return what a kind is called, the same for kinds whose values look the same in an item."""
    match kind:
        case Scalar():
            return kind.value
        case Decimal():
            return Scalar.NUMBER.value
        case Document():
            return "document"
        case Members():
            return "members"
        case ListOf(element):
            return f"list of {type_name(element)}"
        case SetOf(element):
            return f"set of {type_name(element)}"
        case StructOf(fields):
            return f"map of ({', '.join(f'{name} {type_name(field)}' for name, field in fields)})"


@dataclass(frozen=True, slots=True)
class Column:
    """One source column. A hidden one travels only because it is part of the key or the watermark.

    `signs`: all the characters that its texts are made of, `width`: how many each of them has; None where
    the source knows no more than the kind tells.
    """

    name: str
    kind: Kind
    hidden: bool = False
    signs: str | None = None
    width: int | None = None


@dataclass(frozen=True, slots=True)
class RowSchema:
    """What every batch of a source looks like.

    `key` names the columns of the cursor, in order; empty when the source can't be read from a position.
    `identities` are the sets of columns of which each is proved to be unique and never null (the key among
    them when that holds): an item key that holds one of them can't meet another row's. `unique` are more sets
    of columns, whose texts no two rows share as long as none of them is null.
    `open`: the source is schemaless, and its columns are those that engine.rules.fields finds in the rules.
    """

    columns: tuple[Column, ...]
    key: tuple[str, ...]
    identities: tuple[frozenset[str], ...]
    open: bool = False
    unique: tuple[frozenset[str], ...] = ()

    def column(self, name: str) -> Column | None:
        """Return the column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def visible(self) -> tuple[Column, ...]:
        """The columns that rules may name, in source order."""
        return tuple(column for column in self.columns if not column.hidden)

    def arrow(self) -> pa.Schema:
        """Return the Arrow schema of a batch, hidden columns included."""
        return pa.schema([(column.name, arrow_type(column.kind)) for column in self.columns])
