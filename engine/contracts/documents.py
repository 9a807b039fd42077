"""How values of any shape are written for a target: the one seam between a source's documents and its items.

A target hands its codec to the source and to the rules when a job is opened. The source writes each document
in it in the one pass that it makes over its own tokens, and the rules read in it; nothing is written twice.

Invariant: the engine knows no letter, size or limit of a target; it takes them from the codec.
"""

from enum import Enum
from typing import Any, NamedTuple, Protocol, TypeAlias

import pyarrow as pa

from engine.frozen import dataclass

Fragment: TypeAlias = tuple[str, int, int]
"""One written value: its text, its size and its depth, as kinds.Document has them."""
NUMBER_FLAW = "number_"
"""How the flaws begin that leave a document readable: its bad numbers stand in it as strings."""
AS_TEXT = "; `as: json` loads a document as its text"
"""How the flaws end of documents that are all there, taken apart or as one string: those have a text."""


class ValueType(Enum):
    """What a value inside a document can be. A target's sets are lists to whoever reads."""

    STRING = "string"
    NUMBER = "number"
    BINARY = "binary"
    BOOL = "bool"
    NULL = "null"
    LIST = "list"
    MAP = "map"


class Affix(NamedTuple):
    """What stands before a value's own text, and behind it."""

    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Decimals:
    """How a target spells exact decimals, equal ones alike, and which it takes.

    Shape: without zeros that say nothing; plain up to `plain_length_max` characters beside the sign, then as
    `1.5E+42`. `digits_max` significant digits, the first of them at a power of ten from
    `magnitude_min` to `magnitude_max`.
    Units: a number counts a byte for each pair of digits, paired from the point, one more, and one for its
    sign; `size_max` at most.
    """

    digits_max: int
    magnitude_min: int
    magnitude_max: int
    plain_length_max: int
    size_max: int


@dataclass(frozen=True, slots=True)
class Notation:
    """How a target spells values, as JSON, and what each adds to a size beside the bytes of its text.

    Shape: `string` encloses a JSON string with its quotes, `number` an exact decimal, `binary` base64, `bool`
    true or false; `list` and `map` elements and members with commas between, a member being `"name":value`.
    `nameless` says why a member can't have the empty name, with AS_TEXT; None where it
    can.
    `decimals` says how numbers are written; None where that is the codec's own matter, and then documents are
    walked by the codec alone. Where it isn't None, no value's beginning begins another's.
    Units: bytes; a binary counts its own.
    """

    string: Affix
    number: Affix
    binary: Affix
    bool: Affix
    list: Affix
    map: Affix
    null: str
    nameless: str | None
    null_size: int
    bool_size: int
    container_size: int
    element_size: int
    decimals: Decimals | None = None


class DocumentCodec(Protocol):
    """How one target writes documents. Pure, and safe to call from several threads."""

    @property
    def notation(self) -> Notation:
        """How values are spelled."""

    def number(self, text: str) -> tuple[str, int, str | None]:
        """Return a decimal as it is written, its size, and why it can't be: `reason: detail`, or None.

        Integers of 64 bits and doubles from 1e-3 to 1e15 are taken without being asked about.
        """

    def integer(self, value: int) -> tuple[str, int]:
        """Return an integer of 64 bits within its affixes, and its size; asked often."""

    def from_json(self, texts: pa.Array) -> pa.StructArray:
        """Turn JSON texts into documents.

        Shape: one row of kinds.DOCUMENT_TYPE per text; SQL NULL stays null, JSON null becomes a NULL. A text
        that can't be taken apart stands there whole, as one string, with its flaw, and AS_TEXT if it is JSON.
        """

    def parsed(self, wire: str) -> Any:
        """Return a written value for `opened`."""

    def opened(self, value: Any) -> tuple[ValueType, Any]:
        """Return what a value is, and its content: a text, a bool, None, a list or dict of more values.

        Numbers are texts, binaries base64.
        """

    def plain(self, value: Any) -> Any:
        """Return a value as orjson prints it as ordinary JSON, numbers to the last digit."""

    def printed(self, value: Any) -> Fragment:
        """Write a value again that was parsed, or found in one."""
