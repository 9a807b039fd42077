"""Where items are written."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

from engine.batch import Batch, EncodedBatch, Fates, WriteReport
from engine.contracts.transform import RuleItems
from engine.frozen import dataclass

Look: TypeAlias = Callable[[], Awaitable[str | None]]
"""Looks whether the target is still the one that the run began with: None when it is, a sentence when that
can't be told now. Raises: PermanentError when it isn't."""


@dataclass(frozen=True, slots=True)
class TargetAbilities:
    """What a kind of target can do besides being written to.

    `reads_back`: items can be read again, so that verify and redrive can compare. `deletes`: an item can be
    deleted. `creates`: it makes itself as the job describes it. `acks`: when a write is durable, item by item
    or only when the object that holds it is closed. `late_s`: how long a request may still be applied when
    its sender is gone.
    """

    reads_back: bool = False
    deletes: bool = False
    creates: bool = False
    acks: Literal["item", "object"] = "item"
    late_s: float = 0.0


class TargetInfo(Protocol):
    """What a target said of itself before the run; each connector has its own, with more in it."""

    @property
    def name(self) -> str:
        """Its name, as people know it."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What makes this target the same one tomorrow; no secrets. Kept in the checkpoint."""

    @property
    def key(self) -> tuple[str, ...]:
        """The attributes that tell items apart, in the key's order."""

    @property
    def item_count(self) -> int:
        """About how many items it holds; 0 when it doesn't tell."""

    @property
    def size_bytes(self) -> int:
        """About how much it holds, in bytes; 0 when it doesn't tell."""

    def as_text(self) -> str:
        """Return all of it as JSON, for a worker; the connector's `info_from` reads it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A batch that the target keeps somewhere else than in memory, in the order in which it was written.

    It is acked later: `report` comes when the object that holds the items is closed and durable; None when it
    was given up after `drain`, so that its rows are read again. Until then the batch takes no room.
    """

    report: Awaitable[WriteReport | None]


class Target(Protocol):
    """Where items are written."""

    def encode(self, batch: Batch, items: Sequence[RuleItems]) -> EncodedBatch:
        """Turn items into wire text, with every limit checked. Pure and safe to call from several threads."""

    async def write(self, encoded: EncodedBatch) -> WriteReport | Fates | Taken:
        """Write all items and return once each is written, deleted, skipped or refused for good.

        After `drain` it returns as soon as nothing of the batch is in flight, with the items' fates if some
        are open. A target that acks by object returns when it has taken the items.
        Ordering: the target's own, but rows settle from the first to the last by about half a second of work
        at a time, so that a prefix of them can be acked.
        Raises: PermanentError (no permission, no table), RetriesExhausted (the target was away for too long).
        """

    def progress(self, encoded: EncodedBatch) -> Fates | None:
        """Return how the items of a batch stand that is being written; None: nothing is known yet."""

    def drain(self) -> None:
        """Begin nothing new, for good: settle only rows that are begun, since others' acks wait for them."""

    def flush(self) -> None:
        """Ack what was taken without waiting for more: a segment has ended, and its last acks are awaited."""

    def limit(self, units_per_s: float | None) -> None:
        """Set this process's share of the hard cap; None: no cap."""

    async def close(self) -> None:
        """Close every connection. What is in flight is abandoned."""


async def written(target: Target, encoded: EncodedBatch) -> WriteReport:
    """Write items and wait until they are acked, whatever the target acks by. For whoever never drains it.

    Raises: as `Target.write`.
    """
    outcome = await target.write(encoded)
    if isinstance(outcome, Taken):
        target.flush()
        report = await outcome.report
    else:
        report = outcome if isinstance(outcome, WriteReport) else None
    assert report is not None, "only what is drained gives up items"
    return report
