"""A target in memory, as a stranger would write one: three attributes in its key, numbers of 40 digits.

Nothing of the product knows it; `connector` is all that is added, under one name.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
import orjson

from engine.batch import NO_ROWS, Batch, DeadLetter, EncodedBatch, Fates, WriteReport
from engine.contracts.documents import DocumentCodec
from engine.contracts.readback import CONTENT_MIN, Digests, Item, SentItems
from engine.contracts.target import Look, TargetAbilities
from engine.contracts.transform import DELETE, FLAW, ROW, RuleItems
from engine.documents.plain import PLAIN
from engine.errors import JobError, PermanentError
from engine.job.model import Job
from engine.job.section import Text
from engine.job.sections import TargetSection
from engine.kinds import Decimal, Scalar

DIGITS_MAX = 40
NUMBERS = (Scalar.INT, Scalar.NUMBER, Scalar.FLOAT)
KEY = ("tenant", "kind", "id")


@dataclass
class Shelf:
    """What the toy keeps: items by their keys."""

    number: int
    items: dict[tuple[str, ...], Item] = field(default_factory=dict)
    refused: set[tuple[str, ...]] = field(default_factory=set)
    """Keys that it takes no items of."""


SHELVES: dict[str, Shelf] = {}
_made = 0


def new_shelf(name: str) -> Shelf:
    """Make a shelf, in place of one of that name."""
    global _made
    _made += 1
    SHELVES[name] = Shelf(_made)
    return SHELVES[name]


class ToySection(TargetSection):
    """A shelf in memory."""

    DECIDES = frozenset({"shelf"})

    type: Literal["toy"]
    """The kind of target."""
    shelf: Text
    """The shelf's name."""
    give_up_after_s: float = 60.0
    """Seconds for which it is waited for."""
    mode: Literal["put"] = "put"
    """How items meet those that are there."""

    @property
    def writes_to(self) -> str:
        """The shelf's name."""
        return self.shelf


@dataclass(frozen=True, slots=True)
class ShelfInfo:
    """A shelf as it was described."""

    name: str
    number: int
    item_count: int
    size_bytes: int = 0

    @property
    def identity(self) -> Mapping[str, str]:
        return {"shelf": f"{self.name} {self.number}"}

    @property
    def key(self) -> tuple[str, ...]:
        return KEY

    def as_text(self) -> str:
        return orjson.dumps(asdict(self)).decode()


class ToyCodec:
    """What tells of the toy's items: `{"number": "1.50"}`, `{"text": "x"}` …"""

    def sent(self, encoded: EncodedBatch, chosen: Iterable[int]) -> SentItems:
        entries = [orjson.loads(encoded.item(at)) for at in chosen]
        keys = [entry.get("put") or entry["delete"] for entry in entries]
        return SentItems(keys, [entry.get("put") for entry in entries], [])

    def sent_digests(self, encoded: EncodedBatch) -> Digests:
        sent = self.sent(encoded, range(len(encoded)))
        return self.digests([item or key for key, item in zip(sent.keys, sent.items, strict=True)])

    def digests(self, items: Sequence[Item]) -> Digests:
        keys = [hashed([item[name] for name in KEY]) for item in items]
        contents = [max(CONTENT_MIN, hashed(sorted(item.items()))) for item in items]
        return Digests(np.array(keys, np.uint64), np.array(contents, np.uint64))

    def has_key(self, item: Item) -> bool:
        return all(name in item for name in KEY)

    def expired(self, item: Item) -> bool:
        return False

    def key_of(self, item: Item) -> Item:
        return {name: item[name] for name in KEY}

    def key_texts(self, item: Item) -> tuple[str, ...]:
        return tuple(next(iter(item[name].values())) for name in KEY)

    def differing(self, one: Item, other: Item) -> tuple[str, ...]:
        return tuple(sorted(name for name in {**one, **other} if one.get(name) != other.get(name)))

    def parts(self, one: Any, other: Any) -> list[tuple[str, Any, Any]]:
        return [("", one, other)]

    def version_key(self, version: Any) -> tuple[str, bytes]:
        raise AssertionError("it compares no versions")

    def shown(self, value: Any) -> str:
        return str(next(iter(value.values())))

    def deletes(self, batch: Batch, keys: Sequence[Item]) -> EncodedBatch:
        entries = [(tuple(self.key_texts(key)), {"delete": dict(key)}, 0, 0) for key in keys]
        return assembled(batch, entries, [], len(entries))


def hashed(value: Any) -> int:
    return int.from_bytes(blake2b(orjson.dumps(value), digest_size=8).digest(), "little")


Entry = tuple[tuple[str, ...], dict[str, Any], int, int]
"""An item's key, what is sent, its row, its rule."""


def assembled(
    batch: Batch, entries: Sequence[Entry], letters: Sequence[tuple[int, DeadLetter]], emitted: int
) -> EncodedBatch:
    """Put a batch's items one behind the other; of equal keys the last one counts."""
    last = {entry[0]: at for at, entry in enumerate(entries)}
    kept = sorted(last.values())
    gone = [at for at in range(len(entries)) if at not in set(kept)]
    texts = [orjson.dumps(entries[at][1]) + b"," for at in kept]
    hashes = np.array([hashed(entries[at][0]) for at in kept], np.uint64)
    return EncodedBatch(
        batch=batch,
        text=memoryview(b"".join(texts)),
        offsets=np.cumsum([0, *map(len, texts)], dtype=np.int64),
        units=np.ones(len(kept), np.int32),
        key_hashes=hashes,
        partition_hashes=hashes,
        deletes=np.array(["delete" in entries[at][1] for at in kept], np.bool_),
        rows=np.array([entries[at][2] for at in kept], np.uint32),
        rules=np.array([entries[at][3] for at in kept], np.uint16),
        emitted=emitted,
        dead_letters=tuple(letter for _, letter in letters),
        letter_rows=np.array([row for row, _ in letters], np.uint32),
        skipped_rows=NO_ROWS,
        coalesced_rows=np.array([entries[at][2] for at in gone], np.uint32),
        survivor_rows=np.array([entries[last[entries[at][0]]][2] for at in gone], np.uint32),
    )


def value_of(text: Any, kind: Any) -> tuple[Any, str | None]:
    """Return a value in the toy's form, and why it can't be one."""
    if kind in NUMBERS or isinstance(kind, Decimal):
        digits = len(re.sub(r"[^0-9]", "", text).lstrip("0"))
        flaw = None if digits <= DIGITS_MAX else f"number_precision: {digits} digits, {DIGITS_MAX} fit"
        return {"number": text}, flaw
    return {"text": text if isinstance(text, str) else orjson.dumps(text).decode()}, None


class ToyTarget:
    """contracts.Target over a shelf."""

    def __init__(self, section: ToySection, source_key: Sequence[str]) -> None:
        self._section = section
        self._source_key = tuple(source_key)

    def encode(self, batch: Batch, items: Sequence[RuleItems]) -> EncodedBatch:
        entries: list[Entry] = []
        letters: list[tuple[int, DeadLetter]] = []
        for rule in items:
            for record in rule.frame.to_dicts():
                item, flaws = {}, [record[FLAW]] if record[FLAW] else []
                for at, attribute in enumerate(rule.attributes):
                    if (value := record[str(at)]) is not None:
                        item[attribute.name], flaw = value_of(value, attribute.kind)
                        flaws += [flaw] if flaw else []
                flaws += [f"key_null: {name} is null" for name in KEY if name not in item and not flaws]
                row = record[ROW]
                if flaws:
                    reason, _, detail = flaws[0].partition(": ")
                    source = {name: batch.rows.column(name)[row].as_py() for name in self._source_key}
                    text = orjson.dumps(item).decode()
                    letters.append((row, DeadLetter(rule.name, reason, detail, source, text)))
                else:
                    key = ToyCodec().key_of(item)
                    entry = {"delete": key} if record[DELETE] else {"put": item}
                    entries.append((ToyCodec().key_texts(item), entry, row, rule.rule))
        return assembled(batch, entries, letters, len(entries) + len(letters))

    async def write(self, encoded: EncodedBatch) -> WriteReport | Fates:
        shelf = SHELVES[self._section.shelf]
        written = deleted = 0
        letters = []
        sent = ToyCodec().sent(encoded, range(len(encoded)))
        for at, (key, item) in enumerate(zip(sent.keys, sent.items, strict=True)):
            texts = ToyCodec().key_texts(key)
            if texts in shelf.refused:
                row = int(encoded.rows[at])
                source = {name: encoded.batch.rows.column(name)[row].as_py() for name in self._source_key}
                letters.append(
                    DeadLetter(
                        "R",
                        "rejected_by_target",
                        "not here",
                        source,
                        orjson.dumps(dict(item or key)).decode(),
                    )
                )
            elif item is None:
                shelf.items.pop(texts, None)
                deleted += 1
            else:
                shelf.items[texts] = item
                written += 1
        return WriteReport(written, deleted, 0, tuple(letters))

    def progress(self, encoded: EncodedBatch) -> Fates | None:
        return None

    def drain(self) -> None:
        """Nothing is ever in flight."""

    def flush(self) -> None:
        """Everything is acked at once."""

    def limit(self, units_per_s: float | None) -> None:
        """It is as fast as it is."""

    async def close(self) -> None:
        return None


@dataclass(frozen=True, slots=True)
class ToyPage:
    items: Sequence[Item]
    next: Item | None = None

    @property
    def count(self) -> int:
        return len(self.items)

    def digests(self) -> Digests:
        return ToyCodec().digests(self.items)

    def item(self, index: int) -> Item:
        return self.items[index]


class ToyReader:
    """contracts.TargetReader over a shelf."""

    consumed = 0.0

    def __init__(self, shelf: str) -> None:
        self._shelf = shelf

    def limit(self, units_per_s: float | None) -> None:
        return None

    async def get(self, keys: Sequence[Item]) -> list[Item]:
        there = SHELVES[self._shelf].items
        texts = [ToyCodec().key_texts(key) for key in keys]
        return [there[text] for text in texts if text in there]

    async def scan(
        self, segment: int, total: int, start: Item | None = None
    ) -> AsyncGenerator[ToyPage, None]:
        there = SHELVES[self._shelf].items
        mine = [item for key, item in sorted(there.items()) if hashed(key) % total == segment]
        half = len(mine) // 2
        if start is None and half:
            yield ToyPage(mine[:half], ToyCodec().key_of(mine[half - 1]))
        yield ToyPage(mine[half:])

    async def sample(self, count: int, seed: int) -> AsyncGenerator[ToyPage, None]:
        yield ToyPage(list(SHELVES[self._shelf].items.values())[:count])

    def gets_cost_less(self, items: int) -> bool:
        return False

    async def close(self) -> None:
        return None


class ToyConnector:
    """registry.TargetConnector: all that the product is told."""

    section = ToySection
    abilities = TargetAbilities(reads_back=True, deletes=True, creates=True)
    starter = None

    @asynccontextmanager
    async def shared(self) -> AsyncIterator["ToyConnector"]:
        yield self

    def documents(self) -> DocumentCodec:
        return PLAIN

    async def describe(self, job: Job) -> ShelfInfo | None:
        shelf = SHELVES.get(job.target.writes_to)
        return None if shelf is None else ShelfInfo(job.target.writes_to, shelf.number, len(shelf.items))

    def planned(self, job: Job) -> ShelfInfo | None:
        return None

    def check(self, info: ShelfInfo, job: Job) -> None:
        for number, rule in enumerate(job.items):
            if set(rule.key) != set(KEY):
                raise JobError(f"items[{number}].key: the key of shelf {info.name} is {', '.join(KEY)}")

    async def create(self, job: Job, say: Callable[[str], None]) -> None:
        new_shelf(job.target.writes_to)
        say(f"shelf {job.target.writes_to}: ready")

    async def open(self, job, info, schema, rules, meter, notice, tenure) -> ToyTarget:
        return ToyTarget(job.target, schema.key)

    def workers_max(self, job: Job, info: ShelfInfo) -> None:
        return None

    def measurer(self, job, info, *, exists, sample, prices) -> None:
        return None

    def unit_usd(self, info: ShelfInfo) -> float:
        return 0.0

    def codec(self, info: ShelfInfo) -> ToyCodec:
        return ToyCodec()

    async def open_reader(self, job: Job, info: ShelfInfo, units_per_s: float | None, notice) -> ToyReader:
        return ToyReader(info.name)

    @asynccontextmanager
    async def watch(self, job: Job, info: ShelfInfo) -> AsyncIterator[Look]:
        async def look() -> str | None:
            shelf = SHELVES.get(info.name)
            if shelf is None or shelf.number != info.number:
                raise PermanentError(f"shelf {info.name} was replaced: put the one back that was there")
            return None

        yield look

    def info_from(self, text: str) -> ShelfInfo:
        return ShelfInfo(**orjson.loads(text))

    async def hand_over(self) -> str:
        return "[]"

    def take_over(self, text: str) -> None:
        return None


CONNECTOR = ToyConnector()
