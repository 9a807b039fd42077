"""Values of one BSON type as wire fragments, a whole column at once. Pure.

Invariant: the fragments, sizes and flaws are those that bson_values gives value by value; types that are rare
go that way.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from json.encoder import encode_basestring as json_text
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from connectors.mongodb import bson_values as bson
from connectors.mongodb.bson_values import WHOLE_DOUBLE_MAX, YEAR_1_MS, YEAR_10000_MS, Walk
from connectors.mongodb.shapes import Leaf, Octets, Places, int32_at
from engine.contracts.documents import Affix, DocumentCodec

Piece: TypeAlias = "str | pl.Series"
Sizes: TypeAlias = "int | npt.NDArray[np.int64]"
Depths: TypeAlias = "int | npt.NDArray[np.int32]"

_PLAIN_DOUBLE_MIN = 1e-3
"""From here to WHOLE_DOUBLE_MAX a double's shortest text has no exponent, whoever prints it."""
_HEX = np.frombuffer(b"".join(b"%02x" % octet for octet in range(256)), np.uint8).reshape(256, 2)
_QUOTE, _BACKSLASH, _FIRST_PLAIN, _ASCII_MAX = 0x22, 0x5C, 0x20, 0x7F


@dataclass(frozen=True, slots=True)
class Part:
    """Fragments of a column: the pieces side by side are their text.

    Units: sizes and depths as kinds.Document counts them. Shape: `flaws` by row.
    """

    pieces: tuple[Piece, ...]
    size: Sizes
    depth: Depths = 0
    flaws: Mapping[int, str] = field(default_factory=dict)


def leaf(shape: Leaf, data: bytes, octets: Octets, codec: DocumentCodec) -> Part:
    """Return the fragments of values of one type."""
    at, notation = shape.at, codec.notation
    match shape.kind:
        case bson.STRING:
            return _strings(at, octets, data, codec)
        case bson.INT32:
            return _integers(int32_at(octets, at), codec)
        case bson.INT64:
            return _integers(_int64_at(octets, at), codec)
        case bson.OBJECT_ID:
            pairs = _HEX[octets[at[:, None] + np.arange(12)]].reshape(len(at), 24)
            return Part(_quoted(notation.string, fixed_texts(pairs)), 24)
        case bson.BOOL:
            flags = pl.Series(octets[at] != 0)
            return Part(_within(notation.bool, _when(flags, "true", "false")), notation.bool_size)
        case bson.NULL:
            return Part((notation.null,), notation.null_size)
        case bson.DATE:
            return _dates(_int64_at(octets, at), shape, data, codec)
        case bson.DOUBLE:
            return _doubles(_int64_at(octets, at).view(np.float64), shape, data, codec)
        case _:
            return one_by_one(shape.kind, at.tolist(), data, codec)


def one_by_one(kind: int, at: Iterable[int], data: bytes, codec: DocumentCodec) -> Part:
    """Return the fragments of values that go one by one."""
    walk = Walk(codec)
    texts: list[str] = []
    sizes: list[int] = []
    depths: list[int] = []
    flaws: dict[int, str] = {}
    for row, place in enumerate(at):
        walk.begin()
        texts.append(walk.value(kind, data, place, 0))
        sizes.append(walk.size)
        depths.append(walk.depth)
        if walk.flaw is not None:
            flaws[row] = walk.flaw
    return Part(
        (pl.Series(texts, dtype=pl.String),), np.array(sizes, np.int64), np.array(depths, np.int32), flaws
    )


def texts_of(lengths: Places, content: npt.NDArray[np.uint8]) -> pl.Series:
    """Return texts that lie one after the other."""
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    array = pa.LargeStringArray.from_buffers(
        len(lengths), pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(content))
    )
    return pl.Series(array)


def fixed_texts(content: npt.NDArray[np.uint8]) -> pl.Series:
    """Return texts of one length, a row each."""
    rows, width = content.shape
    return texts_of(np.full(rows, width, np.int64), content.ravel())


def _strings(at: Places, octets: Octets, data: bytes, codec: DocumentCodec) -> Part:
    lengths = int32_at(octets, at) - 1
    total = int(lengths.sum())
    begin = np.cumsum(lengths) - lengths
    content = octets[np.arange(total) + np.repeat(at + 4 - begin, lengths)]
    if total and content.max() > _ASCII_MAX:
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        array = pa.LargeStringArray.from_buffers(len(at), pa.py_buffer(offsets), pa.py_buffer(content))
        try:
            array.validate(full=True)
        except pa.ArrowInvalid:
            return one_by_one(bson.STRING, at.tolist(), data, codec)
    texts = texts_of(lengths, content)
    hostile = total and (
        content.min() < _FIRST_PLAIN or (content == _QUOTE).any() or (content == _BACKSLASH).any()
    )
    if hostile:
        quoted = pl.Series([json_text(text) for text in texts], dtype=pl.String)
        return Part(_within(codec.notation.string, quoted), lengths)
    return Part(_quoted(codec.notation.string, texts), lengths)


def _integers(values: Places, codec: DocumentCodec) -> Part:
    texts = pl.Series(values).cast(pl.String)
    return Part(_within(codec.notation.number, texts), codec.plain_sizes(texts, whole=True))


def _doubles(values: npt.NDArray[np.float64], shape: Leaf, data: bytes, codec: DocumentCodec) -> Part:
    magnitude = np.abs(values)
    plain = (values == 0) | ((magnitude >= _PLAIN_DOUBLE_MIN) & (magnitude < WHOLE_DOUBLE_MAX))
    if not plain.all():
        return one_by_one(bson.DOUBLE, shape.at.tolist(), data, codec)
    texts = pl.Series(values + 0.0).cast(pl.String).str.strip_suffix(".0")
    return Part(_within(codec.notation.number, texts), codec.plain_sizes(texts, whole=False))


def _dates(ms: Places, shape: Leaf, data: bytes, codec: DocumentCodec) -> Part:
    if ((ms < YEAR_1_MS) | (ms >= YEAR_10000_MS)).any():
        return one_by_one(bson.DATE, shape.at.tolist(), data, codec)
    whole = fixed_texts(_ascii(ms.view("datetime64[ms]").astype("datetime64[s]"), len("2024-01-15T10:00:00")))
    fractions, (before, after) = ms % 1000, codec.notation.string
    if not fractions.any():
        return Part((f'{before}"', whole, f'Z"{after}'), len("2024-01-15T10:00:00Z"))
    exact = fixed_texts(_ascii(ms.view("datetime64[ms]"), len("2024-01-15T10:00:00.000")))
    texts = _when(pl.Series(fractions != 0), exact, whole)
    sizes = np.where(fractions != 0, len("2024-01-15T10:00:00.000Z"), len("2024-01-15T10:00:00Z"))
    return Part((f'{before}"', texts, f'Z"{after}'), sizes.astype(np.int64))


def _within(affix: Affix, texts: pl.Series) -> tuple[Piece, ...]:
    return affix.before, texts, affix.after


def _quoted(affix: Affix, texts: pl.Series) -> tuple[Piece, ...]:
    return f'{affix.before}"', texts, f'"{affix.after}'


def _ascii(moments: npt.NDArray[np.datetime64], width: int) -> npt.NDArray[np.uint8]:
    texts = np.datetime_as_string(moments).astype(f"S{width}")
    return texts.view(np.uint8).reshape(len(moments), width)


def _when(mask: pl.Series, yes: "str | pl.Series", no: "str | pl.Series") -> pl.Series:
    chosen = pl.when(mask).then(pl.lit(yes)).otherwise(pl.lit(no))
    return pl.select(chosen.alias("")).to_series()


def _int64_at(octets: Octets, at: Places) -> Places:
    found: Places = octets[at[:, None] + np.arange(8)].view("<i8").ravel()
    return found
