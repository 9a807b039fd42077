"""Documents cut into pieces, whole columns at once: what paths lead to, and the elements of lists.

Invariant: a piece is what DocumentReader gives, for every document: what the walk in C calls odd, or what has
a flaw, is read by it.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import pyarrow as pa

from engine.contracts.documents import DocumentCodec
from engine.documents.reading import DocumentReader
from engine.documents.walking import ABSENT, CUTS, ODD, Rows, codes_of, handed, replaced, struct_of, walked
from engine.kinds import DOCUMENT_TYPE, documents_array


def parts(documents: pl.Series, paths: Sequence[tuple[str, ...]], codec: DocumentCodec) -> list[pl.Series]:
    """Return for each path of member names what it leads to in each document, null where to nothing.

    Shape: columns of kinds.DOCUMENT_TYPE, in and out; a part carries its document's flaw, but one that ends
    with AS_TEXT only where it is the part's own.
    """
    wires, flaws = _columns(documents)
    return [pl.Series(_part(wires, flaws, path, codec)) for path in paths]


def elements(documents: pl.Series, codec: DocumentCodec) -> pl.Series:
    """Return the elements of each document that is a list, as lists of documents; null for others."""
    wires, flaws = _columns(documents)
    words = handed(codec.notation)
    found = None if words is None else walked("elements", wires, words)
    read = DocumentReader(codec).elements
    if found is None:
        CUTS.count(len(wires), len(wires))
        return pl.Series(_lists(read(documents.to_list())))
    *made, lists, codes = found
    code = codes_of(codes)
    offsets = pa.Array.from_buffers(pa.int32(), len(wires) + 1, [None, pa.py_buffer(lists)])
    inner = struct_of(made, None)
    fast = pa.ListArray.from_arrays(offsets, inner, mask=pa.array(code == ABSENT))
    odd = _odd(code, flaws)
    CUTS.count(len(wires), len(odd))
    slow = _lists(read(documents.gather(odd).to_list())) if len(odd) else None
    return pl.Series(fast if slow is None else replaced(fast.cast(slow.type), odd, slow))


def scalar_texts(wires: pl.Series, codec: DocumentCodec) -> pl.Series:
    """Return the canonical text of each scalar; null for lists, maps and NULL."""
    column = wires.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.string())
    words = handed(codec.notation)
    found = None if words is None else walked("texts", column, words)
    read = DocumentReader(codec).scalar_texts
    if found is None:
        return pl.Series(wires.name, read(wires.to_list()), pl.String)
    *made, code = found
    codes = codes_of(code)
    fast = struct_of(made, pa.array(codes == ABSENT)).flatten()[0]
    odd = np.flatnonzero(codes == ODD)
    if len(odd):
        fast = replaced(fast, odd, pa.array(read(wires.gather(odd).to_list()), pa.string()))
    return pl.Series(wires.name, fast)


def _part(wires: pa.Array, flaws: pa.Array, path: tuple[str, ...], codec: DocumentCodec) -> pa.StructArray:
    words = handed(codec.notation)
    names = tuple(orjson.dumps(name) for name in path)
    found = None if words is None else walked("part", wires, words, names)
    if found is None:
        CUTS.count(len(wires), len(wires))
        return _read_part(wires, flaws, path, codec)
    *made, codes = found
    code = codes_of(codes)
    fast = struct_of(made, pa.array(code == ABSENT))
    odd = _odd(code, flaws)
    CUTS.count(len(wires), len(odd))
    if not len(odd):
        return fast
    places = pa.array(odd)
    return replaced(fast, odd, _read_part(wires.take(places), flaws.take(places), path, codec))


def _read_part(
    wires: pa.Array, flaws: pa.Array, path: tuple[str, ...], codec: DocumentCodec
) -> pa.StructArray:
    return documents_array(DocumentReader(codec).parts(path, wires.to_pylist(), flaws.to_pylist()))


def _columns(documents: pl.Series) -> tuple[pa.Array, pa.Array]:
    """Return the texts and the flaws of documents."""
    wire, _, _, flaw = documents.struct.unnest()  # a field by itself would be a query each
    wires, flaws = (
        field.alias("").to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.string())
        for field in (wire, flaw)
    )
    return wires, flaws


def _odd(code: npt.NDArray[np.uint8], flaws: pa.Array) -> Rows:
    if flaws.null_count == len(flaws):
        return np.flatnonzero(code == ODD)
    return np.flatnonzero((code == ODD) | flaws.is_valid().to_numpy(zero_copy_only=False))


def _lists(rows: Sequence[object]) -> pa.ListArray:
    return pa.array(rows, pa.list_(DOCUMENT_TYPE))
