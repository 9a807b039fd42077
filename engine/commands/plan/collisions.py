"""Keys that several items have: exactly, over a sample or over everything, in bounded memory.

Invariant: a key is called repeated only where its texts are equal (beyond CONFIRMED_MAX suspects: where 64
bits of hash are); a key that isn't suspected isn't repeated. Deletes alone don't lose anything, so a key
counts from its second item on if one of them is a put.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from engine.batch import Batch
from engine.commands.hash_store import HashStore, repeated
from engine.commands.room import on_disk
from engine.contracts.planning import Measured
from engine.contracts.readback import Hashes
from engine.frozen import dataclass
from engine.hashes import among, folded

NO_ROOM = "set TMPDIR to a disk with 8 bytes for each item"
CONFIRMED_MAX = 50_000
"""Suspected keys that are compared as text; of more, the rest is known by its hashes, of which two in
10,000,000 are equal by chance once in 300,000 times."""
EXAMPLES_MAX = 5
MEMBERS_MAX = 3
_KEPT = "keys.arrow"


@dataclass(frozen=True, slots=True)
class KeySharer:
    """One of the items that share a key."""

    rule: str
    source_key: Mapping[str, str | None]
    deleted: bool


@dataclass(frozen=True, slots=True)
class Repeated:
    """A key that several items have: how many, and some of them."""

    key: tuple[str, ...]
    items: int
    members: tuple[KeySharer, ...]


@dataclass(frozen=True, slots=True)
class Collisions:
    """Repeated keys. `lost` counts the items that other items overwrite: all but one of each key."""

    keys: int
    lost: int
    examples: tuple[Repeated, ...]


NO_COLLISIONS = Collisions(0, 0, ())


class KeyCounter:
    """Gathers items by their key texts: those of a sample, or those whose hashes are suspected."""

    def __init__(self, source_key: Sequence[str], suspects: Hashes | None = None) -> None:
        self._source_key = tuple(source_key)
        self._suspects = suspects
        self._frames: list[pl.DataFrame] = []
        self._pending = 0

    def add(self, batch: Batch, measured: Sequence[Measured]) -> None:
        """Add a batch's items."""
        for found in measured:
            key = {str(n): texts for n, texts in enumerate(found.key)}
            frame = pl.DataFrame({**key, "row": found.rows, "delete": found.deletes})
            if self._suspects is not None:
                frame = frame.filter(pl.Series(among(key_hashes(found), self._suspects)))
            if frame.is_empty():
                continue
            self._gather(_grouped(self._told(batch, found.rule, frame)))

    def _told(self, batch: Batch, rule: str, frame: pl.DataFrame) -> pl.DataFrame:
        """Add what tells each item's row from others, as a struct of texts."""
        rows = frame["row"]
        columns = {name: _texts(batch, name).gather(rows) for name in self._source_key}
        key = pl.DataFrame(columns).to_struct("source") if columns else pl.repeat(None, len(rows), eager=True)
        return frame.drop("row").with_columns(pl.lit(rule).alias("rule"), key.alias("source"))

    def _merged(self) -> pl.DataFrame:
        every = pl.concat(self._frames)
        return every.group_by(_key_of(every), maintain_order=True).agg(
            pl.col("items").sum(),
            pl.col("puts").sum(),
            pl.col("members").list.explode().head(MEMBERS_MAX),
        )

    def keep(self, directory: Path) -> None:
        """Keep what was counted for another process. Raises: PermanentError."""
        if self._frames:
            with on_disk(directory, NO_ROOM):
                self._merged().write_ipc(directory / _KEPT)

    def take_in(self, directory: Path) -> None:
        """Add what another process has kept there."""
        if (kept := directory / _KEPT).exists():
            self._gather(pl.read_ipc(kept.read_bytes()))

    def _gather(self, frame: pl.DataFrame) -> None:
        self._frames.append(frame)
        self._pending += len(frame)
        if len(self._frames) > 1 and self._pending > 2 * CONFIRMED_MAX:
            self._frames = [self._merged()]
            self._pending = 0

    def collisions(self) -> Collisions:
        """Return the keys that more than one item has."""
        if not self._frames:
            return NO_COLLISIONS
        repeated = self._merged().filter((pl.col("items") > 1) & (pl.col("puts") > 0))
        key = _key_of(repeated)
        worst = repeated.sort(["items", *key], descending=[True, *(False for _ in key)]).head(EXAMPLES_MAX)
        return Collisions(
            keys=len(repeated),
            lost=int(repeated["items"].sum()) - len(repeated),
            examples=tuple(_example(row, key) for row in worst.iter_rows(named=True)),
        )


def _example(row: Mapping[str, Any], key: Sequence[str]) -> Repeated:
    members = (KeySharer(each["rule"], each["source"] or {}, each["delete"]) for each in row["members"])
    return Repeated(tuple(row[name] for name in key), row["items"], tuple(members))


def _key_of(frame: pl.DataFrame) -> list[str]:
    """Return the columns that hold the key's texts: those named by a number."""
    return [name for name in frame.columns if name.isdigit()]


def _grouped(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.group_by(_key_of(frame), maintain_order=True).agg(
        pl.len().alias("items"),
        (~pl.col("delete")).sum().alias("puts"),
        pl.struct("rule", "source", "delete").head(MEMBERS_MAX).alias("members"),
    )


def key_hashes(found: Measured) -> Hashes:
    """Return a hash of each item's key, the same in every batch; keys of one attribute or more."""
    return folded(texts.hash(seed).to_numpy() for seed, texts in enumerate(found.key))


@dataclass(frozen=True, slots=True)
class Suspects:
    """Hashes that more than one item has: those to be confirmed, sorted; and what lies beyond those."""

    hashes: Hashes
    keys_beyond: int
    lost_beyond: int


def suspected(store: HashStore) -> Suspects:
    """Return the hashes that occur more than once."""
    found: list[Hashes] = []
    kept = keys_beyond = lost_beyond = 0
    for together in store.merged():
        starts, counts = repeated(together)
        hashes, counts = together[starts[counts > 1]], counts[counts > 1]
        room = max(0, CONFIRMED_MAX - kept)
        found.append(hashes[:room])
        kept += len(hashes[:room])
        keys_beyond += len(hashes[room:])
        lost_beyond += int((counts[room:] - 1).sum())
    every = np.concatenate(found) if found else np.empty(0, np.uint64)
    return Suspects(every, keys_beyond, lost_beyond)


def _texts(batch: Batch, name: str) -> pl.Series:
    """Return a key column as texts; a document's is its wire fragment."""
    column = pl.Series(batch.rows.column(name))
    return column.struct.field("wire") if isinstance(column.dtype, pl.Struct) else column
