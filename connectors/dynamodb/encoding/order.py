"""Which items of a batch are sent, and in what order: one of equal keys, spread evenly. Pure.

Invariant: of the items with one key exactly one is left, the one that would stand in the table had they been
written one by one, so that nothing depends on where batches end: the last one in the order of source rows
and their rules, or the first, or the first that has the highest version, as the mode keeps; no item is left
out for a hash alone. What a row makes now stays before any delete for a row as it was.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from connectors.dynamodb.encoding.comparison import is_lower
from engine.hashes import folded

Hashes = npt.NDArray[np.uint64]
Indexes = npt.NDArray[np.uint32]

PARTITION_SEED, SORT_SEED = 1, 2


def key_hashes(partition: pl.Series, sort: pl.Series | None) -> tuple[Hashes, Hashes]:
    """Return the hashes of the whole keys and of the partition keys alone, the same in every batch."""
    if sort is None:
        partition_hashes = partition.hash(PARTITION_SEED).to_numpy()
        return partition_hashes, partition_hashes
    both = pl.DataFrame([partition.alias("0"), sort.alias("1")])
    hashed = both.select(pl.col("0").hash(PARTITION_SEED), pl.col("1").hash(SORT_SEED))
    partition_hashes, sort_hashes = (column.to_numpy() for column in hashed)
    return folded((partition_hashes, sort_hashes)), partition_hashes


def all_differ(hashes: Hashes) -> bool:
    """Say whether no two items can have one key."""
    return pl.Series(hashes).n_unique() == len(hashes)


def one_of_each(
    hashes: Hashes, keys: pl.DataFrame, keeps: Literal["first", "last", "highest"], old: int = 0
) -> Indexes:
    """Return the items that are left when equal keys coalesce.

    Shape: `keys` has the key's texts as `partition` and `sort`, and `row` and `rule`, in any order; for
    `highest` what is compared, as wire text, as `version`. `old`: rows below are rows as they were.
    """
    column = pl.Series("hash", hashes)
    repeated = keys.with_row_index("item").filter(column.is_duplicated()).sort("row", "rule", "item")
    keep = ~column.is_duplicated().to_numpy()
    if keeps == "highest":
        keep[_highest_of_each(repeated, old)] = True
    else:
        left = repeated.unique(["partition", "sort"], keep=keeps)
        keep[left["item"].to_numpy()] = True
    return np.flatnonzero(keep).astype(np.uint32)


def left_out(hashes: Hashes, keys: pl.DataFrame, left: Indexes) -> tuple[Indexes, Indexes]:
    """Return the source rows of the items that coalesced, and the row of the item left for each.

    Shape: as one_of_each, `left` what it returned.
    """
    stays = np.zeros(len(hashes), np.bool_)
    stays[left] = True
    repeated = keys.select("partition", "sort", "row", stays=pl.Series(stays)).filter(
        pl.Series(hashes).is_duplicated()
    )
    stay = repeated.filter("stays").select("partition", "sort", survivor="row")
    gone = repeated.filter(~pl.col("stays")).join(stay, on=["partition", "sort"], how="inner")
    return gone["row"].to_numpy(), gone["survivor"].to_numpy()


def _highest_of_each(repeated: pl.DataFrame, old: int) -> list[int]:
    """Return of each key the item that no later one would replace. One by one: each is a request anyway."""
    held: dict[tuple[str, str], tuple[Any, int, bool]] = {}
    columns = repeated.select("partition", "sort", "version", "item", "row")
    for partition, sort, wire, item, row in columns.iter_rows():
        version, gone = orjson.loads(wire), row < old
        before = held.get((partition, sort))
        if before is None or (before[2] and not gone) or is_lower(before[0], version):
            held[partition, sort] = version, item, gone
    return [item for _, item, _ in held.values()]


def spread(partition_hashes: Hashes) -> Indexes:
    """Return an order in which each partition key's items lie evenly over the whole."""
    by_hash: Indexes = np.argsort(partition_hashes).astype(np.uint32)
    ordered = partition_hashes[by_hash]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    if len(starts) == len(ordered):
        return by_hash
    counts = np.diff(np.append(starts, len(ordered)))
    ranks = np.arange(len(ordered)) - np.repeat(starts, counts)
    phases = ordered / np.float64(2**64)
    places = np.argsort((ranks + phases) / np.repeat(counts, counts))
    spread_out: Indexes = by_hash[places]
    return spread_out
