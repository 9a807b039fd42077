"""Items read back from a target and compared: what a target with the ability `reads_back` gives besides.

An item is its attributes by name, each a value as JSON has it, in the target's own form. Who compares keeps
such items, shows them and hands them back; what has to be known of their values, the codec says.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from engine.batch import Batch, EncodedBatch
from engine.frozen import dataclass

Item: TypeAlias = Mapping[str, Any]
Hashes: TypeAlias = npt.NDArray[np.uint64]

CONTENT_MIN = 3
"""No content's hash is lower: the numbers below it say what else may be expected of an item."""


@dataclass(frozen=True, slots=True)
class Digests:
    """Items as two hashes each, of the key and of everything.

    Items that the target holds as the same have equal ones, those that differ have others, but for chance. A
    number in another form may have another content; then the items are compared value by value.
    """

    keys: Hashes
    contents: Hashes


@dataclass(frozen=True, slots=True)
class SentItems:
    """Some items of an encoded batch, taken apart.

    Shape: `items` is None for a delete. `keys` hold the key's attributes, maybe among others. `versions` are
    what mode newer compares; empty in other modes.
    """

    keys: Sequence[Item]
    items: Sequence[Item | None]
    versions: Sequence[Any]


class Page(Protocol):
    """Some items of a scan, as the target gave them."""

    @property
    def count(self) -> int:
        """How many items these are."""

    @property
    def next(self) -> Item | None:
        """Behind what the segment goes on; None: it has ended."""

    def digests(self) -> Digests:
        """Return the items' hashes; fit for a thread. Raises: ValueError when the page can't be read."""

    def item(self, index: int) -> Item:
        """Return one item, once there are `digests`."""


class TargetReader(Protocol):
    """Reads the target's items, consistently and within a budget."""

    @property
    def consumed(self) -> float:
        """What the reads have cost so far. Units: the target's read units."""

    def limit(self, units_per_s: float | None) -> None:
        """Read so many units a second from here on, at most; None: as fast as may be."""

    async def get(self, keys: Sequence[Item]) -> list[Item]:
        """Return the items that there are of these keys, which must differ, in any order."""

    def scan(self, segment: int, total: int, start: Item | None = None) -> AsyncGenerator[Page, None]:
        """Yield the pages of one of `total` segments from behind `start`. Together they are everything."""

    def sample(self, count: int, seed: int) -> AsyncGenerator[Page, None]:
        """Yield pages from random places, for about so many items; the same ones for the same seed."""

    def gets_cost_less(self, items: int) -> bool:
        """Whether reading so many items by key costs less than a scan of everything."""

    async def close(self) -> None:
        """Close every connection."""


class ItemCodec(Protocol):
    """Tells of items what a comparison has to know. Pure, and fit for threads."""

    def sent(self, encoded: EncodedBatch, chosen: Iterable[int]) -> SentItems:
        """Take some items of an encoded batch apart."""

    def sent_digests(self, encoded: EncodedBatch) -> Digests:
        """Return the hashes of all items of an encoded batch; a delete's content is any."""

    def digests(self, items: Sequence[Item]) -> Digests:
        """Return the hashes of items, or of keys alone."""

    def has_key(self, item: Item) -> bool:
        """Whether an item has a whole key, of the right types."""

    def expired(self, item: Item) -> bool:
        """Whether the target lets go of an item like this by itself, and may have done so."""

    def key_of(self, item: Item) -> Item:
        """Return the key's attributes of an item."""

    def key_texts(self, item: Item) -> tuple[str, ...]:
        """Return the key's values in the key's order, each as a template's text is."""

    def differing(self, one: Item, other: Item) -> tuple[str, ...]:
        """Return the names of the attributes in which two items differ, sorted."""

    def parts(self, one: Any, other: Any) -> Iterable[tuple[str, Any, Any]]:
        """Return where inside an attribute two values differ: the path behind its name, and both parts.

        Shape: None for a value, or a part of one, that a side lacks; an empty path is the value as a whole.
        """

    def version_key(self, version: Any) -> tuple[str, bytes]:
        """Return a version's type, and bytes that sort as versions of that type do."""

    def shown(self, value: Any) -> str:
        """Return a value for people."""

    def deletes(self, batch: Batch, keys: Sequence[Item]) -> EncodedBatch:
        """Return deletes of items that no row stands behind, as if they came of the only row of a batch."""
