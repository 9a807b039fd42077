"""The partition keys that take most writes, from a sample. Pure.

Invariant: a key counts as hot only where it was met in several places of the sample: rows that lie side by
side in the source are often of one key, and a sample of whole pages holds many of them.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from connectors.dynamodb.limits import PARTITION_WCU_PER_S
from connectors.dynamodb.planning.use import used
from engine.contracts.planning import Measured
from engine.frozen import dataclass

PLACES = 100
"""Parts that a sample is cut into to see how far a key is spread."""
PLACES_MIN = 3
SHOWN_MAX = 5
SHARE_MIN = 0.001
"""Below this share of the writes no key can hold a load back."""


@dataclass(frozen=True, slots=True)
class HotKey:
    """A partition key with its share of the writes of the table (TABLE) or of one index.

    Units: `least_s` is the time below which its own writes can't be done, 0 where the total isn't known.
    """

    of: str
    key: str
    share: float
    least_s: float


class HotKeyCounter:
    """Collects the partition keys of a sample."""

    def __init__(self, rows_wanted: int) -> None:
        self._rows_per_place = max(1, rows_wanted // PLACES)
        self._frames: list[pl.DataFrame] = []
        self._before = 0

    def add(self, rows: int, measured: Sequence[Measured]) -> None:
        """Add the items of the sample's next `rows` rows."""
        for found in measured:
            places = pl.Series((found.rows.astype("int64") + self._before) // self._rows_per_place)
            for of, held in used(found).items():
                frame = pl.DataFrame({"key": held.partition, "units": held.units, "place": places})
                frame = frame.filter(pl.col("key").is_not_null())
                grouped = frame.group_by("key", "place").agg(pl.col("units").cast(pl.Int64).sum())
                self._frames.append(grouped.select(pl.lit(of).alias("of"), "key", "place", "units"))
        self._before += rows

    def hottest(self, units: Mapping[str, float]) -> list[HotKey]:
        """Return the hottest keys of the table and of each index.

        Units: `units` are the writes of the whole load by index.
        """
        if not self._frames:
            return []
        keys = (
            pl.concat(self._frames)
            .group_by("of", "key")
            .agg(pl.col("units").sum(), pl.col("place").n_unique().alias("places"))
        )
        shares = keys.with_columns((pl.col("units") / pl.col("units").sum().over("of")).alias("share"))
        spread = min(PLACES_MIN, max(1, self._before // self._rows_per_place))
        hot = shares.filter((pl.col("places") >= spread) & (pl.col("share") >= SHARE_MIN))
        hot = hot.sort(["of", "share", "key"], descending=[False, True, False])
        return [
            HotKey(of, key, share, share * units.get(of, 0.0) / PARTITION_WCU_PER_S)
            for of, key, share in hot.group_by("of", maintain_order=True)
            .head(SHOWN_MAX)
            .select("of", "key", "share")
            .iter_rows()
        ]
