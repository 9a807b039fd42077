"""The keys of requests that nobody has answered for: the server may still be about to apply them.

That is a request without an answer, one whose answer can't be understood, and one that failed inside the
server (5xx) or in between: DynamoDB says of these that they may have been applied.

For the client such a request has ended; for the server it may live on, and an answer to its repetition
doesn't prove that it is dead. To send the same item again is harmless; another item of the same key, sent
meanwhile, might be overwritten by the older one. So that one waits.

Invariant: a key is held for REQUEST_LIFE_S after its last such request, and no longer.
"""

from connectors.dynamodb.section import Mode
from connectors.dynamodb.writing.loads import Lot
from engine.batch import EncodedBatch

REQUEST_LIFE_S = 5.0
"""A server is taken to work no longer than that on a request that its client has given up. An assumption:
DynamoDB names no such time, and answers in milliseconds. Where keys repeat in every batch, each failed
request costs this much."""


def may_be_overwritten(mode: Mode, encoded: EncodedBatch) -> bool:
    """Say whether an older request that is applied late could undo an item of this batch.

    A condition keeps it out where an item is there: in mode `insert`, and in `newer` but for deletes, which
    leave no version behind.
    """
    return mode == "put" or (mode == "newer" and bool(encoded.deletes.any()))


class Unknown:
    """Holds keys, by their hashes. Units: seconds of the event loop's clock."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: dict[int, float] = {}

    def __bool__(self) -> bool:
        """Say whether any key may be held."""
        return bool(self._until)

    def add(self, lot: Lot, now: float) -> None:
        """Hold the keys of a request that nobody answered."""
        self._until = {key: until for key, until in self._until.items() if until > now}
        for run in lot.runs:
            hashes: list[int] = run.load.encoded.key_hashes[run.start : run.stop].tolist()
            self._until.update(dict.fromkeys(hashes, now + REQUEST_LIFE_S))

    def wait_s(self, encoded: EncodedBatch, now: float) -> float:
        """Return for how long other items of these keys must not be sent yet."""
        keys: list[int] = encoded.key_hashes.tolist()
        until = max((self._until[key] for key in self._until.keys() & set(keys)), default=now)
        return max(0.0, until - now)
