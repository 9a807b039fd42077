"""From the text that PostgreSQL prints to canonical text, a whole column at a time.

Invariant: nulls stay nulls and nothing else becomes one; a text that isn't understood is an error. Pure.
"""

from collections.abc import Callable

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from connectors.postgres.types import ArrayOf, Composite, JsonArray, Nested, Node, Printed, Reading
from engine.contracts.documents import DocumentCodec
from engine.documents.writing import documents_from_text_json

_DATE_CHARS = len("2024-01-15")
_SPACE, _ZERO, _NINE = b" 09"


def column(node: Node, texts: pa.StringArray, codec: DocumentCodec) -> pa.Array:
    """Turn one column as it arrived into the Arrow form of its kind."""
    match node:
        case Printed(reading=Reading.JSON) | JsonArray():
            return codec.from_json(texts)
        case Printed(reading=Reading.AS_IS):
            return texts
        case Printed(reading=reading):
            return _READERS[reading](texts)
        case Nested(leaf=leaf):
            return documents_from_text_json(_leaves_canonical(leaf, texts, codec), leaf.kind, codec)
        case ArrayOf() | Composite():
            raw_type = _raw_type(node)
            decoded = pl.Series(texts).str.json_decode(pl.Series(pa.nulls(0, raw_type)).dtype)
            raw = decoded.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(raw_type)
            return _nested(node, raw, codec)


def _raw_type(node: Node) -> pa.DataType:
    match node:
        case ArrayOf(element=element):
            return pa.list_(_raw_type(element))
        case Composite(fields=fields):
            return pa.struct([(name, _raw_type(field)) for name, field in fields])
        case _:
            return pa.string()


def _nested(node: Node, array: pa.Array, codec: DocumentCodec) -> pa.Array:
    """Make the leaves of decoded JSON canonical, the lists and structs around them kept."""
    match node:
        case ArrayOf(element=element):
            values = _nested(element, array.flatten(), codec)
            lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
            offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
            return pa.ListArray.from_arrays(pa.array(offsets), values, mask=array.is_null())
        case Composite(fields=fields):
            children = [
                _nested(field, child, codec)
                for (_, field), child in zip(fields, array.flatten(), strict=True)
            ]
            names = [name for name, _ in fields]
            return pa.StructArray.from_arrays(children, names=names, mask=array.is_null())
        case _:
            return column(node, array, codec)


def _leaves_canonical(leaf: Printed, texts: pa.StringArray, codec: DocumentCodec) -> pa.StringArray:
    """Make the leaves inside JSON lists of unknown depth canonical."""
    if leaf.reading is Reading.AS_IS:
        return texts
    trees = [None if text is None else orjson.loads(text) for text in texts.to_pylist()]
    found: list[str | None] = []

    def gather(tree: object) -> None:
        if isinstance(tree, list):
            for part in tree:
                gather(part)
        else:
            assert tree is None or isinstance(tree, str)
            found.append(tree)

    for tree in trees:
        if tree is not None:
            gather(tree)
    leaves = iter(column(leaf, pa.array(found, type=pa.string()), codec).to_pylist())

    def rebuild(tree: object) -> object:
        return [rebuild(part) for part in tree] if isinstance(tree, list) else next(leaves)

    return pa.array(
        [None if tree is None else orjson.dumps(rebuild(tree)).decode() for tree in trees], type=pa.string()
    )


def _bool(texts: pa.StringArray) -> pa.StringArray:
    return pc.if_else(pc.starts_with(texts, "t"), "true", "false")


def _bytea(texts: pa.StringArray) -> pa.StringArray:
    series = pl.Series(texts)
    assert (series.is_null() | series.str.starts_with("\\x")).all(), "bytea_output is hex"
    return _arrow(series.str.slice(2).str.decode("hex").bin.encode("base64"))


def _date(texts: pa.StringArray) -> pa.StringArray:
    """Regular dates have ten characters; `infinity`, years BC and after 9999 have others."""
    lengths = pc.min_max(pc.binary_length(texts)).as_py()
    if lengths["min"] in (None, _DATE_CHARS) and lengths["max"] in (None, _DATE_CHARS):
        return texts
    return _arrow(_years(pl.Series(texts)))


def _timestamp(texts: pa.StringArray) -> pa.StringArray:
    if _regular(texts):
        return _with_t(texts)
    return _arrow(_years(pl.Series(texts).str.replace(" ", "T", literal=True)))


def _timestamptz(texts: pa.StringArray) -> pa.StringArray:
    if _regular(texts):
        return pc.binary_replace_slice(_with_t(texts), start=-len("+00"), stop=_TEXT_END, replacement="Z")
    series = pl.Series(texts).str.replace(" ", "T", literal=True)
    infinite = series.str.starts_with("infinity") | series.str.starts_with("-infinity")
    utc = series.str.contains(r"\+00( BC)?$")
    assert (infinite | utc | series.is_null()).all(), "the session's time zone is UTC"
    return _arrow(_years(series.str.replace(r"\+00( BC)?$", "Z$1")))


_TEXT_END = 2**31 - 1


def _with_t(texts: pa.StringArray) -> pa.StringArray:
    return pc.binary_replace_slice(texts, start=_DATE_CHARS, stop=_DATE_CHARS + 1, replacement="T")


def _regular(texts: pa.StringArray) -> bool:
    """Whether every year has four digits and is of our era: a space after ten characters, a digit last."""
    valid = texts.drop_null() if texts.null_count else texts
    if not len(valid):
        return True
    offsets = np.frombuffer(valid.buffers()[1], dtype=np.int32)[valid.offset : valid.offset + len(valid) + 1]
    if int(np.diff(offsets).min()) <= _DATE_CHARS:
        return False
    data = np.frombuffer(valid.buffers()[2], dtype=np.uint8)
    last = data[offsets[1:] - 1]
    spaced = bool((data[offsets[:-1] + _DATE_CHARS] == _SPACE).all())
    return spaced and bool(((last >= _ZERO) & (last <= _NINE)).all())


def _years(series: pl.Series) -> pl.Series:
    """Count the years before our era as ISO 8601 does, where 1 BC is 0000 and 44 BC is -0043."""
    frame = series.alias("text").to_frame()
    year = pl.col("text").str.extract(r"^(\d+)-").cast(pl.Int64)
    rest = pl.col("text").str.extract(r"^\d+(-.*) BC$")
    before = 1 - year
    signed = pl.when(before < 0).then(pl.lit("-")).otherwise(pl.lit("")) + (
        before.abs().cast(pl.String).str.zfill(4)
    )
    text = pl.when(pl.col("text").str.ends_with(" BC")).then(signed + rest).otherwise(pl.col("text"))
    return frame.select(text.alias("text"))["text"]


def _arrow(series: pl.Series) -> pa.StringArray:
    return series.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.string())


_READERS: dict[Reading, Callable[[pa.StringArray], pa.Array]] = {
    Reading.BOOL: _bool,
    Reading.BYTEA: _bytea,
    Reading.DATE: _date,
    Reading.TIMESTAMP: _timestamp,
    Reading.TIMESTAMPTZ: _timestamptz,
}
