"""Writes encoded batches: each is open until all its items are settled, while requests go out as they may.

Invariant: `write` returns only when each of its items is settled, exactly once, or, after a drain, none is in
flight; after an error that concerns everybody nothing more is sent.
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from connectors.dynamodb.http.sender import Sender
from connectors.dynamodb.writing.completion import CompletionHandler
from connectors.dynamodb.writing.dispatcher import Dispatcher
from connectors.dynamodb.writing.interruption import Interruption
from connectors.dynamodb.writing.open_batch import OpenBatch
from connectors.dynamodb.writing.refusals import Refusals
from connectors.dynamodb.writing.request_builder import RequestBuilder
from connectors.dynamodb.writing.send_queue import SendQueue
from connectors.dynamodb.writing.settings import WriterSettings
from connectors.dynamodb.writing.stride import Stride
from connectors.dynamodb.writing.throttling import Throttling
from connectors.dynamodb.writing.unknown_requests import UnknownRequests, may_be_overwritten
from engine.batch import EncodedBatch, Fates, WriteReport
from engine.meter import Meter
from engine.tenure import Tenure
from engine.throttle.decisions import Tell, ignore


class Writer:
    """Writes batches to one table. Belongs to one event loop. `tell` hears of each decision."""

    def __init__(
        self,
        sender: Sender,
        settings: WriterSettings,
        meter: Meter,
        renew: Callable[[], Awaitable[object]],
        notice: Callable[[str], None],
        random: Random,
        tenure: Tenure | None = None,
        tell: Tell = ignore,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._mode = settings.mode
        self._meter = meter
        builder = RequestBuilder(settings.mode, settings.table)
        refusals = Refusals(settings.table, settings.stop_after_refusals, random)
        self._throttling = Throttling(settings, notice, random, self._loop.time(), tell)
        self._queue = SendQueue(settings.mode.items_max, builder.bytes_max, self._throttling.lanes)
        self._unknown = UnknownRequests(tell)
        self._completion = CompletionHandler(
            settings, builder, self._queue, self._throttling, self._unknown, refusals, meter, notice, tell
        )
        self._interruption = Interruption(renew, tenure or Tenure(), random, self._interrupted)
        self._dispatcher = Dispatcher(
            settings,
            sender,
            builder,
            self._queue,
            self._throttling,
            self._completion,
            self._interruption,
            meter,
            self._go_on,
            self._fail,
        )
        self._stride = Stride(self._loop.time())
        self._waiting: dict[OpenBatch, asyncio.Future[None]] = {}
        self._error: Exception | None = None
        self._closed = False
        self._draining = False

    async def write(self, encoded: EncodedBatch) -> WriteReport | Fates:
        """Write all items; return once each is settled, or, after a drain, nothing of them is in flight.

        Raises: PermanentError, RetriesExhausted.
        """
        assert not self._closed, "written to after close"
        self._check()
        batch = OpenBatch(encoded)
        self._meter.items_skipped += encoded.skipped
        if not batch.unsettled:
            return batch.outcome()
        if self._unknown and may_be_overwritten(self._mode, encoded):
            free = await self._unknown.keys_free(encoded)
            self._check()
            if not free:
                return batch.outcome()
        if not self._waiting:
            self._stride.go_on(self._loop.time())
        settled = self._waiting[batch] = self._loop.create_future()
        self._queue.fresh.add(batch)
        self._go_on()
        try:
            await settled
        finally:
            batch.abandoned = True
            self._waiting.pop(batch, None)
            if not self._waiting:
                self._stride.rest(self._loop.time())
        return batch.outcome()

    def progress(self, encoded: EncodedBatch) -> Fates | None:
        """Return how the items of a batch stand that is being written."""
        for batch in self._waiting:
            if batch.encoded.batch is encoded.batch:
                return batch.fates()
        return None

    def drain(self) -> None:
        """Begin no row any more; writes end when none is in flight and no settled row waits for another."""
        self._draining = True
        self._unknown.release()
        self._queue.fresh.drain()
        self._go_on()

    def limit(self, wcu_per_s: float | None) -> None:
        """Never spend more write units per second than this; None: no cap."""
        self._throttling.pace.cap(wcu_per_s, self._loop.time())
        self._fit()
        self._go_on()

    async def close(self) -> None:
        """Abandon what is in flight and end every task."""
        self._closed = True
        for settled in self._waiting.values():
            settled.cancel()
        await self._interruption.close()
        await self._dispatcher.close()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _go_on(self) -> None:
        """Tell whose batches are settled, and start what may start."""
        self._tell_finished()
        if self._loop.time() >= self._stride.due:
            self._look_at_speed()
        # What a stop leaves in doubt is no dead letter: it is tried again.
        while self._dispatcher.start() and not self._draining and self._completion.idle():
            self._tell_finished()
        if self._draining and self._dispatcher.idle:
            self._tell_rested()

    def _tell_finished(self) -> None:
        for batch in self._completion.finished:
            settled = self._waiting.get(batch)
            if settled is not None and not settled.done():
                settled.set_result(None)
        self._completion.finished.clear()

    def _tell_rested(self) -> None:
        """After a drain, and with nothing in flight, tell whose settled rows wait for nothing any more."""
        for batch, settled in self._waiting.items():
            if not settled.done() and batch.without_gap:
                settled.set_result(None)

    def _look_at_speed(self) -> None:
        """Take note of how fast items are settled."""
        settled = self._meter.items_written + self._meter.items_deleted + self._meter.items_skipped
        self._stride.observe(settled, self._loop.time())
        self._fit()

    def _fit(self) -> None:
        """Fit what is begun together to the speed."""
        self._meter.rate_limit = self._throttling.pace.rate
        self._meter.hot_keys = len(self._throttling.lanes.by_key)
        self._queue.fresh.stride(self._stride.items, self._throttling.pace.rate)

    def _interrupted(self, error: Exception | None) -> None:
        """Go on after an interruption, or end because of it."""
        if error is not None:
            self._fail(error)
        self._go_on()

    def _fail(self, error: Exception) -> None:
        """Let every write fail, now and later."""
        if self._error is not None:
            return
        self._error = error
        self._unknown.release()
        self._dispatcher.stop()
        for settled in self._waiting.values():
            if not settled.done():
                settled.set_exception(error)
