"""Which items of a batch are sent, and in what order: the last of equal keys, spread evenly. Pure.

Invariant: of the items with one key exactly one is left, the one of the last source row (and of the last rule
there); no item is left out for a hash alone.
"""

import numpy as np
import numpy.typing as npt
import polars as pl

Hashes = npt.NDArray[np.uint64]
Indexes = npt.NDArray[np.uint32]

PARTITION_SEED, SORT_SEED = 1, 2
_MIXER = np.uint64(0x9E3779B97F4A7C15)  # odd: multiplying by it loses nothing


def key_hashes(partition: pl.Series, sort: pl.Series | None) -> tuple[Hashes, Hashes]:
    """Return the hashes of the whole keys and of the partition keys alone, the same in every batch."""
    partition_hashes = partition.hash(PARTITION_SEED).to_numpy()
    if sort is None:
        return partition_hashes, partition_hashes
    return partition_hashes * _MIXER + sort.hash(SORT_SEED).to_numpy(), partition_hashes


def last_of_each(hashes: Hashes, keys: pl.DataFrame) -> Indexes | None:
    """Return the items that are left when equal keys coalesce; None: all of them.

    Shape: `keys` has the key's texts as `partition` and `sort`, and `row` and `rule`, in any order.
    """
    column = pl.Series("hash", hashes)
    if column.n_unique() == len(column):
        return None
    repeated = keys.with_row_index("item").filter(column.is_duplicated())
    left = repeated.sort("row", "rule", "item").unique(["partition", "sort"], keep="last")["item"]
    keep = ~column.is_duplicated().to_numpy()
    keep[left.to_numpy()] = True
    return np.flatnonzero(keep).astype(np.uint32)


def spread(partition_hashes: Hashes) -> Indexes:
    """Return an order in which each partition key's items lie evenly over the whole."""
    by_hash: Indexes = pl.Series(partition_hashes).arg_sort().to_numpy()
    ordered = partition_hashes[by_hash]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    if len(starts) == len(ordered):
        return by_hash
    counts = np.diff(np.append(starts, len(ordered)))
    ranks = np.arange(len(ordered)) - np.repeat(starts, counts)
    phases = ordered / np.float64(2**64)
    places = pl.Series((ranks + phases) / np.repeat(counts, counts)).arg_sort().to_numpy()
    spread_out: Indexes = by_hash[places]
    return spread_out
