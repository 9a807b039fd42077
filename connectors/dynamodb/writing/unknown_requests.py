"""The keys of requests that nobody has answered for: the server may still be about to apply them.

That is a request without an answer, one whose answer can't be understood, and one that failed inside the
server (5xx) or in between: DynamoDB says of these that they may have been applied.

For the client such a request has ended; for the server it may live on, and an answer to its repetition
doesn't prove that it is dead. To send the same item again is harmless; another item of the same key, sent
meanwhile, might be overwritten by the older one. So that one waits.

Invariant: a key is held for REQUEST_LIFE_S after its last such request, and no longer.
"""

import asyncio

from connectors.dynamodb.limits import REQUEST_LIFE_S
from connectors.dynamodb.modes import WriteMode
from connectors.dynamodb.writing.decisions import BatchHeldBack, KeysHeld
from connectors.dynamodb.writing.requests import Request
from engine.batch import EncodedBatch
from engine.throttle.decisions import Tell, ignore


def may_be_overwritten(mode: WriteMode, encoded: EncodedBatch) -> bool:
    """Say whether an older request that is applied late could undo an item of this batch."""
    return mode.late == "harms" or (mode.late == "harms deletes" and bool(encoded.deletes.any()))


class UnknownRequests:
    """Holds keys, by their hashes. Units: seconds of the event loop's clock."""

    def __init__(self, tell: Tell = ignore) -> None:
        self._tell = tell
        self._until: dict[int, float] = {}
        self._waiting: set[asyncio.Future[None]] = set()
        self._released = False

    def __bool__(self) -> bool:
        """Say whether any key may be held."""
        return bool(self._until)

    def add(self, request: Request, now: float) -> None:
        """Hold the keys of a request that nobody answered."""
        self._until = {key: until for key, until in self._until.items() if until > now}
        for span in request.spans:
            self._until.update(dict.fromkeys(span.keys, now + REQUEST_LIFE_S))
        self._tell(KeysHeld(request.items, len(self._until)))

    def wait_s(self, encoded: EncodedBatch, now: float) -> float:
        """Return for how long other items of these keys must not be sent yet."""
        keys: list[int] = encoded.key_hashes.tolist()
        until = max((self._until[key] for key in self._until.keys() & set(keys)), default=now)
        return max(0.0, until - now)

    async def keys_free(self, encoded: EncodedBatch) -> bool:
        """Wait while the server may still apply older items of these keys; False if released before."""
        loop = asyncio.get_running_loop()
        while (wait_s := self.wait_s(encoded, loop.time())) > 0.0 and not self._released:
            self._tell(BatchHeldBack(wait_s))
            waiting = loop.create_future()
            self._waiting.add(waiting)
            await asyncio.wait({waiting}, timeout=wait_s)
            self._waiting.discard(waiting)
        return wait_s <= 0.0

    def release(self) -> None:
        """Let nobody wait any more."""
        self._released = True
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
