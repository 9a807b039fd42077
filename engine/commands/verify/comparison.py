"""How items compare: what the source makes of its rows against what the target has under their keys.

Invariant: what a job's mode explains is no difference.
"""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, cast

from engine.commands.verify.opened_job import ABSENT, Made, OpenedJob
from engine.commands.verify.version_order import is_lower
from engine.contracts.readback import Item, ItemCodec, TargetReader
from engine.frozen import dataclass

Difference: TypeAlias = Literal["missing", "mismatched", "extra"]
Verdict: TypeAlias = Literal["matched", "newer_in_target", "kept"] | Difference

RIGHT: tuple[Verdict, ...] = ("matched", "newer_in_target", "kept")
"""What is no difference, plain or explained by the job's mode."""


@dataclass(frozen=True, slots=True)
class Compared:
    """An item of a batch beside the target's of the same key; None: there is none, or should be none.

    Shape: `at` its place in the batch, `content` the target's as a hash, where it differs.
    """

    at: int
    key: Item
    expected: Item | None
    actual: Item | None
    content: int
    verdict: Verdict

    @property
    def difference(self) -> Difference | None:
        """The verdict where it is a difference."""
        return None if self.verdict in RIGHT else cast("Difference", self.verdict)


async def compare(job: OpenedJob, reader: TargetReader, made: Made, chosen: Sequence[int]) -> list[Compared]:
    """Compare some of the items that rows make, read by key."""
    codec, sent = job.codec, await job.sent(made, chosen)
    keys = [codec.key_of(key) for key in sent.keys]
    found = await read(codec, reader, keys)
    actual = [found.get(int(made.keys[at])) for at in chosen]
    versions = sent.versions or [None] * len(chosen)
    verdicts = [
        judged(codec, expected, there, job.keeps, job.version, version)
        for expected, there, version in zip(sent.items, actual, versions, strict=True)
    ]
    differing = [at for at, verdict in enumerate(verdicts) if verdict not in RIGHT and actual[at] is not None]
    contents = dict.fromkeys(range(len(chosen)), ABSENT)
    hashes = codec.digests([item for at in differing if (item := actual[at]) is not None]).contents
    contents.update(zip(differing, hashes.tolist(), strict=True))
    return [
        Compared(at, keys[n], sent.items[n], actual[n], contents[n], verdicts[n])
        for n, at in enumerate(chosen)
    ]


async def read(codec: ItemCodec, reader: TargetReader, keys: Sequence[Item]) -> dict[int, Item]:
    """Return the target's items of these keys by their keys' hashes."""
    items = await reader.get(keys)
    hashes = codec.digests([codec.key_of(item) for item in items]).keys
    return dict(zip(hashes.tolist(), items, strict=True))


def judged(
    codec: ItemCodec,
    expected: Item | None,
    actual: Item | None,
    keeps: bool,
    compared: str | None,
    version: Any,
) -> Verdict:
    """Say how the target's item compares with what the source makes of it; None: there is none.

    `keeps`: the job leaves what is there (insert). `compared` names what `newer` compares and `version` is
    the source's; the target may rightly hold a higher one.
    """
    if actual is None:
        return "matched" if expected is None else "missing"
    if keeps and expected is None:
        return "kept"
    if expected is not None and not codec.differing(expected, actual):
        return "matched"
    if compared is not None and compared in actual and is_lower(codec, version, actual[compared]):
        return "newer_in_target"
    if keeps:
        return "kept"
    return "extra" if expected is None else "mismatched"
