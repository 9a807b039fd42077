"""Which items of a batch have expired by the table's time to live, in columns. Pure.

Invariant: what is told here of an item is what TimeToLive.expired says of it.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.dynamodb.encoding.values import Values
from connectors.dynamodb.expiry import OLDEST_S, TimeToLive
from engine.contracts.transform import Attribute
from engine.kinds import Members

_VALUE = pl.Struct({"N": pl.String})
_NUMBER = r'^\{"N":"([^"]*)"\}$'


def left_to_expire(
    ttl: TimeToLive, attributes: Sequence[Attribute], values: Sequence[Values]
) -> npt.NDArray[np.bool_]:
    """Return which items have expired."""
    expired = np.zeros(len(values[0].text), np.bool_)
    for attribute, found in zip(attributes, values, strict=True):
        if isinstance(attribute.kind, Members):
            # The first sign of what a document spreads is the comma that joins it to what stands before it.
            members = "{" + found.text.str.slice(1) + "}"
            value = members.str.json_decode(pl.Struct({ttl.attribute: _VALUE})).struct.field(ttl.attribute)
            texts = value.struct.field("N")
        elif attribute.name == ttl.attribute:
            texts = found.wire.str.extract(_NUMBER)
        else:
            continue
        seconds = texts.cast(pl.Float64, strict=False)
        between = seconds.is_between(ttl.now_s - OLDEST_S, ttl.now_s, closed="left")
        expired |= between.fill_null(value=False).to_numpy()
    return expired
