"""Columns of attribute values as wire text: one column of any kind in, JSON texts and their sizes out. Pure.

Invariant: `before + text + after` of a value without a flaw is valid JSON for exactly that value, and null
where there is none. A flawed value's text is valid JSON too, for a person to read.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import pyarrow as pa

from connectors.dynamodb.documents import number_sizes
from connectors.dynamodb.documents.notation import CONTAINER_SIZE, ELEMENT_SIZE
from connectors.dynamodb.documents.texts import byte_lengths, large_text
from connectors.dynamodb.encoding import numbers
from engine.frozen import dataclass
from engine.kinds import Decimal, Document, Kind, ListOf, Members, Scalar, SetOf, StructOf

NULL_WIRE = '{"NULL":true}'
NULL_SIZE = BOOL_SIZE = 1
_QUOTE, _BACKSLASH, _FIRST_PLAIN = 0x22, 0x5C, 0x20


@dataclass(frozen=True, slots=True)
class ValueOptions:
    """What the job's `options` say about values: NULL instead of leaving out, S instead of a bad N."""

    keep_nulls: bool = False
    numbers_as_strings: bool = False


@dataclass(frozen=True, slots=True)
class Values:
    """A column of attribute values as wire text: `before`, what varies, `after`.

    Units: `size` in bytes as DynamoDB counts it, name not included: the same for all, or by row, or None for
    numbers, whose size is cheap to bound and costly to know. `depth` in lists and maps around the deepest
    value. Shape: `flaws` by row, `reason: detail`.
    """

    before: str
    text: pl.Series
    after: str
    size: int | pl.Series | None
    depth: int | pl.Series
    flaws: Mapping[int, str]

    @property
    def wire(self) -> pl.Series:
        """The whole wire text of each value."""
        return _joined(self.before, self.text, self.after)

    @property
    def exact_size(self) -> pl.Series:
        """The size of each value; what it is for a missing one means nothing."""
        if self.size is None:
            return number_sizes.exact(self.text)
        return pl.repeat(self.size, len(self.text), eager=True) if isinstance(self.size, int) else self.size

    @property
    def bare(self) -> pl.Series:
        """The text of each scalar S, N or B within its quotes; equal values have equal texts."""
        return self.text if self.before else self.text.str.head(-2).str.slice(6)


def wire_values(values: pl.Series, kind: Kind, options: ValueOptions) -> Values:
    """Turn a column into wire text."""
    match kind:
        case Scalar.STRING:
            return Values('{"S":"', escaped(values), '"}', _lengths(values), 0, {})
        case Scalar.BOOL:
            return Values('{"BOOL":', values, "}", BOOL_SIZE, 0, {})
        case Scalar.BINARY:
            return Values('{"B":"', values, '"}', _decoded_size(values), 0, {})
        case Scalar.INT | Scalar.NUMBER | Scalar.FLOAT | Decimal():
            return _numbers(values, kind, options)
        case Scalar():  # dates and times: ASCII without a quote
            return Values('{"S":"', values, '"}', _lengths(values), 0, {})
        case Document() | Members():
            return _documents(values, options)
        case ListOf(element):
            return _lists(values, element, options)
        case SetOf(element):
            return _sets(values, element)
        case StructOf(fields):
            return _structs(values, fields, options)


def json_name(name: str) -> str:
    """Return an attribute's name as JSON."""
    return orjson.dumps(name).decode()


def escaped(values: pl.Series) -> pl.Series:
    """Return texts as they stand between the quotes of JSON; the very same column when nothing needs it."""
    if not _needs_escape(large_text(values)):
        return values
    encoded = pl.struct(pl.col("")).struct.json_encode().str.strip_prefix('{"":"').str.strip_suffix('"}')
    return values.to_frame("").select(pl.when(pl.col("").is_not_null()).then(encoded)).to_series()


def _lengths(values: pl.Series) -> pl.Series:
    return pl.Series(byte_lengths(values).astype(np.int64))


def _needs_escape(array: pa.LargeStringArray) -> bool:
    data = array.buffers()[2]
    if data is None or data.size == 0:
        return False
    octets = np.frombuffer(data, np.uint8)
    return bool(octets.min() < _FIRST_PLAIN or (octets == _QUOTE).any() or (octets == _BACKSLASH).any())


def _joined(before: str, text: pl.Series, after: str) -> pl.Series:
    if not before and not after:
        return text
    return text.to_frame("t").select(pl.concat_str(pl.lit(before), "t", pl.lit(after))).to_series()


def _decoded_size(base64: pl.Series) -> pl.Series:
    length, unpadded = base64.str.len_bytes(), base64.str.strip_chars_end("=").str.len_bytes()
    return length // 4 * 3 - (length - unpadded)


def _numbers(values: pl.Series, kind: Kind, options: ValueOptions) -> Values:
    found = numbers.shortest(values, kind)
    if not found.flaws:
        return Values('{"N":"', found.text, '"}', None, 0, {})
    rows = list(found.flaws)
    bad = pl.Series(rows, dtype=pl.UInt32)
    raw = values.gather(bad)
    wire = _joined('{"N":"', found.text, '"}').scatter(bad, _joined('{"S":"', escaped(raw), '"}'))
    size = number_sizes.exact(found.text).scatter(bad, raw.str.len_bytes())
    return Values("", wire, "", size, 0, _unless_strings(found.flaws, options))


def _unless_strings(flaws: Mapping[int, str], options: ValueOptions) -> Mapping[int, str]:
    """Leave out what `numbers: string` allows; the wire text holds such numbers as S already."""
    if not options.numbers_as_strings:
        return flaws
    return {row: flaw for row, flaw in flaws.items() if not flaw.startswith("number_")}


def _documents(values: pl.Series, options: ValueOptions) -> Values:
    wire, size, depth, flaw = values.struct.unnest()  # a field by itself would be a query each
    flaws: dict[int, str] = {}
    if flaw.null_count() < len(flaw):
        flawed = flaw.is_not_null().arg_true()
        flaws = dict(zip(flawed.to_list(), flaw.gather(flawed).to_list(), strict=True))
    return Values("", wire, "", size, depth, _unless_strings(flaws, options))


@dataclass(frozen=True, slots=True)
class _Elements:
    """The elements of a list column, one after the other, and the row that each belongs to."""

    lists: pl.Series
    lengths: pl.Series
    flat: pl.Series
    parents: npt.NDArray[np.intp]

    @classmethod
    def of(cls, lists: pl.Series) -> "_Elements":
        lengths = lists.list.len().fill_null(0)
        flat = lists.filter(lengths > 0).explode()
        return cls(lists, lengths, flat, np.repeat(np.arange(len(lists)), lengths.to_numpy()))

    def join(self, texts: pl.Series) -> pl.Series:
        """Return the texts of each row's elements with commas between them; null for a null list."""
        offsets = np.concatenate(([0], np.cumsum(self.lengths.to_numpy(), dtype=np.int64)))
        grouped = pl.Series(pa.LargeListArray.from_arrays(pa.array(offsets), large_text(texts)))
        return _where(self.lists.is_not_null(), grouped.list.join(","))

    def total(self, sizes: pl.Series) -> pl.Series:
        """Return the sum over each row's elements."""
        summed = np.bincount(self.parents, weights=sizes.to_numpy(), minlength=len(self.lists))
        return pl.Series(summed.astype(np.int64))

    def deepest(self, depths: int | pl.Series) -> int | pl.Series:
        """Return the depth of each list."""
        if isinstance(depths, int):
            return depths + 1
        found = np.zeros(len(self.lists), np.int32)
        np.maximum.at(found, self.parents, depths.fill_null(0).to_numpy() + 1)
        return pl.Series(found)

    def flaws(self, flaws: Mapping[int, str]) -> dict[int, str]:
        """Return each row's first flaw."""
        found: dict[int, str] = {}
        for element, flaw in sorted(flaws.items()):
            found.setdefault(int(self.parents[element]), flaw)
        return found


def _where(mask: pl.Series, values: pl.Series) -> pl.Series:
    """Return values where the mask is true, null elsewhere."""
    frame = pl.DataFrame({"m": mask, "v": values})
    return frame.select(pl.when(pl.col("m")).then(pl.col("v"))).to_series()


def _lists(lists: pl.Series, kind: Kind, options: ValueOptions) -> Values:
    elements = _Elements.of(lists)
    inner = wire_values(elements.flat, kind, options)
    sizes = _where(elements.flat.is_not_null(), inner.exact_size).fill_null(NULL_SIZE)
    return Values(
        '{"L":[',
        elements.join(inner.wire.fill_null(NULL_WIRE)),
        "]}",
        elements.total(sizes) + elements.lengths * ELEMENT_SIZE + CONTAINER_SIZE,
        elements.deepest(inner.depth),
        elements.flaws(inner.flaws),
    )


_SET_LETTERS = {Scalar.STRING: "S", Scalar.NUMBER: "N", Scalar.BINARY: "B"}


def _sets(sets: pl.Series, kind: Scalar) -> Values:
    letter = _SET_LETTERS[kind]
    elements = _Elements.of(sets)
    inner = wire_values(elements.flat, kind, ValueOptions())
    flaws = elements.flaws(inner.flaws)
    members = pl.DataFrame({"row": elements.parents, "text": inner.bare})
    for row in members.filter(members.is_duplicated())["row"].unique().to_list():
        flaws.setdefault(row, "set_invalid: a value stands twice in the set")
    for row in members.filter(pl.col("text").is_null())["row"].unique().to_list():
        flaws.setdefault(row, "set_invalid: a set can't hold NULL")
    for row in (sets.list.len() == 0).fill_null(False).arg_true().to_list():
        flaws.setdefault(row, "set_invalid: the set is empty")
    quoted = _joined('"', inner.bare.fill_null(""), '"')
    total = elements.total(inner.exact_size.fill_null(0))
    return Values(f'{{"{letter}S":[', elements.join(quoted), "]}", total, 0, flaws)


def _structs(structs: pl.Series, fields: Sequence[tuple[str, Kind]], options: ValueOptions) -> Values:
    columns = (
        structs.struct.unnest().get_columns()
    )  # by place and nameless: `*` and `^…$` are patterns to Polars
    members = {
        name: wire_values(column.alias(""), kind, options)
        for (name, kind), column in zip(fields, columns, strict=True)
    }
    frame = pl.DataFrame({f"w{i}": m.text for i, m in enumerate(members.values())})
    sizes = pl.DataFrame({f"s{i}": _member_size(n, m, options) for i, (n, m) in enumerate(members.items())})
    pieces = []
    for i, (name, member) in enumerate(members.items()):
        piece = pl.concat_str(pl.lit(f",{json_name(name)}:{member.before}"), f"w{i}", pl.lit(member.after))
        pieces.append(piece.fill_null(f",{json_name(name)}:{NULL_WIRE}") if options.keep_nulls else piece)
    joined = frame.select(pl.concat_str(pieces, ignore_nulls=True).str.strip_prefix(",")).to_series()
    flaws: dict[int, str] = {}
    for name, member in members.items():
        for row, flaw in member.flaws.items():
            flaws.setdefault(row, placed(flaw, name))
    depths = [member.depth for member in members.values()]
    return Values(
        '{"M":{',
        _where(structs.is_not_null(), joined),
        "}}",
        sizes.select(pl.sum_horizontal(pl.all()).cast(pl.Int64) + CONTAINER_SIZE).to_series(),
        _deepest(depths),
        flaws,
    )


def _member_size(name: str, member: Values, options: ValueOptions) -> pl.Series:
    """Return what each member adds to its map; null where it is left out."""
    size = _where(member.text.is_not_null(), member.exact_size.cast(pl.Int64))
    return (size.fill_null(NULL_SIZE) if options.keep_nulls else size) + (len(name.encode()) + ELEMENT_SIZE)


def _deepest(depths: Sequence[int | pl.Series]) -> int | pl.Series:
    constant = max((depth for depth in depths if isinstance(depth, int)), default=0)
    series = [depth.fill_null(0) for depth in depths if isinstance(depth, pl.Series)]
    if not series:
        return constant + 1
    frame = pl.DataFrame({str(i): depth for i, depth in enumerate(series)})
    return frame.select(pl.max_horizontal(pl.all(), pl.lit(constant)) + 1).to_series()


def placed(flaw: str, where: str) -> str:
    """Return a flaw with the name of the attribute or field that has it."""
    reason, _, detail = flaw.partition(": ")
    return f"{reason}: {where}: {detail}"
