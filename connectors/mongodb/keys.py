"""The texts that name documents in dead letters and samples, and the `_id`s that a text leads back to. Pure.

Invariant: the text of a document's `_id` leads back to that `_id`. Where all `_id`s are proved to be of one
kind, it is the bare text that items have too; else canonical Extended JSON, as positions have it.
"""

import math
import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pyarrow as pa
from bson import Binary, DatetimeMS, Decimal128, Int64, ObjectId

from connectors.mongodb.bson_values import BINARY, DATE, OBJECT_ID, STRING, Walk
from connectors.mongodb.positions import UNREADABLE, id_element, position_text, position_value
from engine.contracts.documents import DocumentCodec
from engine.documents.reading import DocumentReader

_DATE = re.compile(r"([+-]?)(\d{4,})(-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{3}))?Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ERA_YEARS, _ERA_MS = 400, 146_097 * 86_400_000
"""The calendar's years repeat after an era."""
INT64 = range(-(2**63), 2**63)


def exact_texts(data: bytes, starts: Sequence[int]) -> pa.StringArray:
    """Return the texts of the `_id`s of documents, of any types."""
    elements = (id_element(data, start) for start in starts)
    return pa.array(
        [None if element is None else position_text(element) for element in elements], pa.string()
    )


def key_text(element: bytes, types: AbstractSet[int], codec: DocumentCodec) -> str:
    """Return the text of one `_id`, of one of the proved types if there are any."""
    if not types:
        return position_text(element)
    (text,) = DocumentReader(codec).scalar_texts([Walk(codec).value(element[4], element, 9, 0)])
    assert text is not None, "a proved _id is a scalar"
    return text


def ids_of(text: str, types: AbstractSet[int]) -> list[Any]:
    """Return the values among which the `_id` is that has this text; none where no `_id` can have it."""
    try:
        return list(_ids(text, types))
    except UNREADABLE:
        return []


def _ids(text: str, types: AbstractSet[int]) -> Iterator[Any]:
    if not types:
        yield position_value(text)
    elif OBJECT_ID in types:
        yield ObjectId(text)
    elif STRING in types:
        yield text
    elif BINARY in types:
        yield Binary(UUID(text).bytes, 4)
    elif DATE in types:
        yield date_of(text)
    else:
        yield from numbers_of(text)


def numbers_of(text: str) -> Iterator[Any]:
    """Yield the numbers that print as a text: a server finds one of any type by its value.

    A double's text is the shortest that leads back to it, which needn't be its exact value.
    """
    double = float(text)
    if math.isfinite(double) or not any(sign.isdigit() for sign in text):
        yield double
    if text.lstrip("-").isdigit() and int(text) in INT64:
        yield Int64(int(text))
    try:
        yield Decimal128(text)
    except ArithmeticError:  # it has more digits, so it is a double's
        return


def date_of(text: str) -> DatetimeMS:
    """Return the date that prints as a text. Raises: ValueError when none does."""
    found = _DATE.fullmatch(text)
    if found is None:
        raise ValueError("no date")
    sign, digits, within, fraction = found.groups()
    year = int(sign + digits)
    eras = (year - 2000) // _ERA_YEARS
    moment = datetime.fromisoformat(f"{year - eras * _ERA_YEARS}{within}+00:00")
    seconds = (moment - _EPOCH).total_seconds()
    return DatetimeMS(int(seconds) * 1000 + int(fraction or 0) + eras * _ERA_MS)
