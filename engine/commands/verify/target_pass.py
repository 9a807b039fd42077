"""The second pass: the target is scanned once, and each item held against the index.

Invariant: an item counts as matched only when both its hashes are the source's; whatever else there is
becomes a suspect, or is none of ours.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import orjson

from engine.commands.verify.book import Book, Suspect
from engine.commands.verify.digests import ABSENT, UNKNOWN, KeySchema, digests, sliced
from engine.commands.verify.external_index import ExternalIndex
from engine.commands.verify.scope import Scope
from engine.commands.verify.values import Item
from engine.errors import PermanentError
from engine.tasks import together

SCANS_IN_FLIGHT = 4
COMMIT_S = 5.0
DONE = "target pass done"


class ScannedPage(Protocol):
    """What a scan hands out."""

    @property
    def text(self) -> bytes:
        """The items as a JSON array, as the target wrote them."""

    @property
    def count(self) -> int:
        """How many items these are."""

    @property
    def items(self) -> list[dict[str, Any]]:
        """The items, parsed."""

    @property
    def next(self) -> dict[str, Any] | None:
        """The key behind which the segment goes on; None: it has ended."""


class TargetReader(Protocol):
    """Reads the target's items, consistently."""

    @property
    def consumed_rcu(self) -> float:
        """Read units that were consumed so far."""

    async def get(self, keys: Sequence[Item]) -> list[dict[str, Any]]:
        """Return the items that there are of these keys, which must differ."""

    def scan(
        self, segment: int, total: int, start: Item | None = None, limit: int | None = None
    ) -> AsyncGenerator[ScannedPage, None]:
        """Yield the pages of one segment of a parallel scan from behind `start`."""


@dataclass(frozen=True, slots=True)
class Sifted:
    """One page held against the index. `seen` are positions in the index."""

    seen: npt.NDArray[np.int64]
    suspects: list[Suspect]
    tallies: Counter[str]


def sift(
    page: ScannedPage, index: ExternalIndex, schema: KeySchema, scope: Scope, *, keeps: bool = False
) -> Sifted:
    """Hold a page's items against the index; only those that don't match are parsed.

    With `keeps`, whatever is there under an expected key is right: the job's mode leaves it.
    Raises: ValueError when they aren't JSON.
    """
    tallies: Counter[str] = Counter()
    if not page.count:
        return Sifted(np.empty(0, np.int64), [], tallies)
    items = sliced(page.text, page.count)
    hashes = digests(items, schema)
    at = index.find(hashes.keys)
    known = at >= 0
    seen = at[known]
    wanted, places = index.contents[seen], index.places[seen]
    contents = hashes.contents[known]
    equal = wanted == contents
    unknown = wanted == UNKNOWN
    tallies["matched"] = int(equal.sum())
    tallies["unknown"] = int(unknown.sum())
    suspects = []
    rows = np.flatnonzero(known)
    other = np.flatnonzero(~equal & ~unknown)
    if keeps:
        tallies["kept"], other = len(other), other[:0]
    for which in other.tolist():
        row = int(rows[which])
        suspects.append(
            Suspect(
                int(places[which]),
                int(hashes.keys[row]),
                int(wanted[which]),
                int(contents[which]),
                dict(schema.of(orjson.loads(items.item(row)))),
            )
        )
    for row in np.flatnonzero(~known).tolist():
        item = orjson.loads(items.item(row))
        if scope.holds(item):
            key, content = int(hashes.keys[row]), int(hashes.contents[row])
            suspects.append(Suspect(None, key, ABSENT, content, dict(schema.of(item))))
        else:
            tallies["not_ours"] += 1
    return Sifted(seen, suspects, tallies)


class TargetPass:
    """Scans every segment that isn't done yet."""

    def __init__(
        self,
        book: Book,
        index: ExternalIndex,
        reader: TargetReader,
        schema: KeySchema,
        scope: Scope,
        told: Callable[[int], None],
        threads: Executor | None = None,
        *,
        keeps: bool = False,
    ) -> None:
        self._book = book
        self._threads = threads
        self._index = index
        self._reader = reader
        self._told = told
        self._sift = partial(sift, index=index, schema=schema, scope=scope, keeps=keeps)
        self._suspects: list[Suspect] = []
        self._tallies: Counter[str] = Counter()
        self._positions: dict[int, dict[str, Any] | None] = {}
        self._committed_at = monotonic()

    async def run(self, segments: int) -> None:
        """Scan everything, then note what the scan hasn't met."""
        if not self._book.scans():
            self._book.begin()
            self._book.plan_scans(segments)
            self._book.commit()
        states = self._book.scans()
        todo = [(segment, start) for segment, start, done in states if not done]
        todo.reverse()

        async def scanner() -> None:
            while todo:
                await self._scan(*todo.pop(), len(states))

        await together(scanner() for _ in range(SCANS_IN_FLIGHT))
        self._commit()
        self._note_missing()

    async def _scan(self, segment: int, start: dict[str, Any] | None, total: int) -> None:
        async with aclosing(self._reader.scan(segment, total, start)) as pages:
            async for page in pages:
                sifted = await self._sifted(page)
                self._index.mark(sifted.seen)
                self._suspects += sifted.suspects
                self._tallies.update(sifted.tallies)
                self._positions[segment] = page.next
                self._told(page.count)
                if monotonic() - self._committed_at > COMMIT_S:
                    self._commit()

    async def _sifted(self, page: ScannedPage) -> Sifted:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._sift, page)
        except ValueError as error:
            raise PermanentError(
                f"the target answered a scan with items that aren't JSON ({error}); start verify again, which"
                " goes on where it was"
            ) from error

    def _commit(self) -> None:
        self._index.sync()
        self._book.begin()
        self._book.suspect(self._suspects)
        self._book.add(self._tallies)
        for segment, start in self._positions.items():
            self._book.scan_at(segment, start)
        self._book.commit()
        self._suspects, self._tallies, self._positions = [], Counter(), {}
        self._committed_at = monotonic()

    def _note_missing(self) -> None:
        """Make suspects of what should have been met, and count what rightly was not."""
        self._book.begin()
        for keys, contents, places in self._index.unseen():
            gone = int((contents == ABSENT).sum())
            unknown = int((contents == UNKNOWN).sum())
            self._book.add({"matched": gone, "absent": gone, "unknown": unknown})
            missing = contents > UNKNOWN
            self._book.suspect(
                Suspect(int(place), int(key), int(content), ABSENT, None)
                for key, content, place in zip(keys[missing], contents[missing], places[missing], strict=True)
            )
        self._book.put(DONE, "1")
        self._book.commit()
