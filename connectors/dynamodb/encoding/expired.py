"""Which items of a batch have expired by the table's time to live, in columns. Pure.

Invariant: what is told here of an item is what TimeToLive.expired says of it.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from connectors.dynamodb.encoding.values import Values, json_name
from connectors.dynamodb.expiry import OLDEST_S, TimeToLive
from engine.contracts.transform import Attribute
from engine.kinds import Members

_NUMBER = r'^\{"N":"([^"]*)"\}$'


def left_to_expire(
    ttl: TimeToLive, attributes: Sequence[Attribute], values: Sequence[Values]
) -> npt.NDArray[np.bool_]:
    """Return which items have expired."""
    expired = np.zeros(len(values[0].text), np.bool_)
    for attribute, found in zip(attributes, values, strict=True):
        if isinstance(attribute.kind, Members):
            named = found.text.str.contains(f",{json_name(ttl.attribute)}:", literal=True)
            for row in named.fill_null(value=False).arg_true().to_list():
                expired[row] |= ttl.expired(orjson.loads(f"{{{found.text[row][1:]}}}"))
        elif attribute.name == ttl.attribute:
            seconds = found.wire.str.extract(_NUMBER).cast(pl.Float64, strict=False)
            expired |= (
                seconds.is_between(ttl.now_s - OLDEST_S, ttl.now_s, closed="left")
                .fill_null(value=False)
                .to_numpy()
            )
    return expired
