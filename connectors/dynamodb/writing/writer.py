"""Sends encoded batches: one request after another as pace and gate allow, until every item is settled.

Invariant: `write` returns only when each of its items is settled, exactly once, or, after a drain, none is in
flight; after an error that concerns everybody nothing more is sent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random
from typing import Protocol

from connectors.dynamodb.http.connection import Answer, TransportError
from connectors.dynamodb.writing import answers
from connectors.dynamodb.writing.flight import Flight
from connectors.dynamodb.writing.loads import NEVER, Load, Lot
from connectors.dynamodb.writing.outage import Outage
from connectors.dynamodb.writing.settling import Settling, Terms
from connectors.dynamodb.writing.stride import Stride
from connectors.dynamodb.writing.unknown import Unknown, may_be_overwritten
from engine.batch import EncodedBatch, Fates, WriteReport
from engine.errors import PermanentError
from engine.meter import Meter
from engine.tenure import LeaseOver, Tenure
from engine.throttle.gate import FLIGHT_MAX
from engine.throttle.pauses import jittered

RENEWAL_BASE_S, RENEWAL_CAP_S = 1.0, 10.0
LEASE_LOOK_S = 0.1
"""How often is looked whether a lease that has ended goes on."""

RENEWALS_MAX = 5
"""So often in a row may the target call the credentials expired before that is final."""


class Sender(Protocol):
    """What carries requests."""

    async def send(self, operation: str, parts: Sequence[bytes | memoryview]) -> Answer:
        """Send one request and return its answer. Raises: TransportError, LeaseOver, PermanentError."""


class Writer:
    """Writes batches to one table. Belongs to one event loop."""

    def __init__(
        self,
        sender: Sender,
        terms: Terms,
        meter: Meter,
        renew: Callable[[], Awaitable[object]],
        notice: Callable[[str], None],
        random: Random,
        tenure: Tenure | None = None,
    ) -> None:
        self._tenure = tenure or Tenure()
        self._loop = asyncio.get_running_loop()
        self._sender = sender
        self._terms = terms
        self._meter = meter
        self._renew = renew
        self._random = random
        self._outage = Outage(terms.table, terms.give_up_after_s, notice, random)
        self._settling = Settling(terms, self._outage, meter, random, self._loop.time())
        self._queue, self._pace, self._gate = self._settling.queue, self._settling.pace, self._settling.gate
        self._stride = Stride(self._loop.time())
        self._waiting: dict[Load, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._flight = Flight()
        self._unknown = Unknown()
        self._held_back: set[asyncio.Future[None]] = set()
        """Writes that wait until the server can't apply an older item of theirs any more."""
        self._held: Lot | None = None
        """A lot that waits for the pace."""
        self._timer: asyncio.TimerHandle | None = None
        self._renewal: asyncio.Task[None] | None = None
        """Gets credentials, or waits for the lease: nothing is sent meanwhile."""
        self._renewals = self._vain_renewals = 0
        self._error: Exception | None = None
        self._closed = False
        self._draining = False

    async def write(self, encoded: EncodedBatch) -> WriteReport | Fates:
        """Write all items; return once each is settled, or, after a drain, nothing of them is in flight.

        Raises: PermanentError, RetriesExhausted.
        """
        assert not self._closed, "written to after close"
        if self._error is not None:
            raise self._error
        load = Load(encoded)
        self._meter.items_skipped += encoded.skipped
        if (
            self._unknown
            and load.unsettled
            and may_be_overwritten(self._terms.mode, encoded)
            and not await self._keys_free(encoded)
        ):
            return load.fates()
        if load.unsettled:
            if not self._waiting:
                self._stride.go_on(self._loop.time())
            settled = self._waiting[load] = self._loop.create_future()
            self._queue.add(load)
            self._pump()
            if self._draining:
                self._tell_rested()
            try:
                await settled
            finally:
                load.abandoned = True
                self._waiting.pop(load, None)
                if not self._waiting:
                    self._stride.rest(self._loop.time())
        if load.unsettled:
            return load.fates()
        return WriteReport(load.written, load.deleted, load.skipped, tuple(load.dead_letters))

    async def _keys_free(self, encoded: EncodedBatch) -> bool:
        """Wait while the server may still apply older items of these keys; False when nothing is to begin."""
        while (wait_s := self._unknown.wait_s(encoded, self._loop.time())) > 0.0 and not self._draining:
            held_back = self._loop.create_future()
            self._held_back.add(held_back)
            await asyncio.wait({held_back}, timeout=wait_s)
            self._held_back.discard(held_back)
            if self._error is not None:
                raise self._error
        return not self._draining or wait_s <= 0.0

    def _wake_held_back(self) -> None:
        for held_back in self._held_back:
            if not held_back.done():
                held_back.set_result(None)

    def progress(self, encoded: EncodedBatch) -> Fates | None:
        """Return how the items of a batch stand that is being written."""
        for load in self._waiting:
            if load.encoded.batch is encoded.batch:
                return load.fates()
        return None

    def drain(self) -> None:
        """Begin no row any more; writes end when none is in flight and no settled row waits for another."""
        self._draining = True
        self._wake_held_back()
        self._queue.drain()
        self._pump()
        self._tell_rested()

    def limit(self, wcu_per_s: float | None) -> None:
        """Never spend more write units per second than this; None: no cap."""
        self._pace.cap(wcu_per_s, self._loop.time())
        self._fit()
        self._pump()

    async def close(self) -> None:
        """Abandon what is in flight and end every task."""
        self._closed = True
        self._stop_timer()
        for settled in self._waiting.values():
            settled.cancel()
        tasks = [*self._tasks, *([self._renewal] if self._renewal is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _pump(self) -> None:
        """Start every request that may start now, and be called again when the next one may."""
        if self._closed or self._error is not None or self._renewal is not None:
            return
        now = self._loop.time()
        wake_at = NEVER
        if now >= self._stride.due:
            self._look_at_speed(now)
        while True:
            limit = 1 if self._outage.away else self._gate.limit
            if len(self._tasks) >= limit and (self._flight.full(limit) or len(self._tasks) >= FLIGHT_MAX):
                self._gate.wanted()
                break
            if now < self._outage.probe_at:
                wake_at = self._outage.probe_at
                break
            lot = self._held or self._queue.take(now, self._pace.lot_units)
            self._held = None
            if lot is None:
                wake_at = self._queue.next_at(now)
                # What a stop leaves in doubt is no dead letter: it is tried again.
                idle = wake_at == NEVER and not self._tasks and not self._draining
                if idle and self._settling.idle():
                    self._tell_finished()
                    continue
                break
            if (wait_s := self._pace.wait_s(lot.units, now)) > 0.0:
                self._held = lot
                wake_at = now + wait_s
                break
            self._start(lot, self._pace.take(lot.units, now))
        if self._timer is not None:
            self._stop_timer()
        if wake_at != NEVER:
            self._timer = self._loop.call_at(wake_at, self._pump)

    def _start(self, lot: Lot, epoch: int) -> None:
        self._meter.requests_in_flight += 1
        if lot.again:
            self._meter.retries += 1
        task = self._loop.create_task(self._send(lot, epoch, self._renewals))
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, self._flight.sent()))

    def _ended(self, number: int, task: asyncio.Task[None]) -> None:
        """Go on after a request, one that was cancelled before it began included."""
        self._tasks.discard(task)
        self._flight.ended(number)
        self._meter.requests_in_flight -= 1
        self._tell_finished()
        self._pump()
        if self._draining:
            self._tell_rested()

    async def _send(self, lot: Lot, epoch: int, renewals: int) -> None:
        try:
            request = self._settling.envelope.request(lot)
            answer = await self._sender.send(request.operation, request.parts)
            verdict = answers.judge(self._terms.mode, answer, lot.items)
            if isinstance(verdict, answers.Unavailable):
                self._unknown.add(lot, self._loop.time())
            self._settling.settle(lot, epoch, verdict, answer, self._loop.time())
            if not isinstance(verdict, answers.Expired):
                self._vain_renewals = 0
            elif renewals == self._renewals:
                self._begin_renewal(verdict.detail)
        except LeaseOver:
            self._queue.again(lot.runs, self._loop.time())
            if self._renewal is None:
                self._renewal = self._loop.create_task(self._await_lease())
        except TransportError as error:
            if error.sent:
                self._unknown.add(lot, self._loop.time())
            self._lost(lot, str(error))
        except Exception as error:  # told to everyone who waits in write()
            self._fail(error)

    def _lost(self, lot: Lot, detail: str) -> None:
        self._meter.requests["error"] += 1
        away = self._outage.away
        try:
            self._settling.failed(lot, detail, self._loop.time())
            if self._outage.away and not away:
                self._flight.give_up()
        except Exception as error:  # told to everyone who waits in write()
            self._fail(error)

    def _tell_finished(self) -> None:
        for load in self._settling.finished:
            settled = self._waiting.get(load)
            if settled is not None and not settled.done():
                settled.set_result(None)
        self._settling.finished.clear()

    def _look_at_speed(self, now: float) -> None:
        """Take note of how fast items are settled."""
        self._stride.observe(self._settled, now)
        self._fit()

    def _fit(self) -> None:
        """Fit what is begun together to the speed."""
        self._meter.rate_limit = self._pace.rate
        self._queue.stride(self._stride.items, self._pace.rate)

    def _tell_rested(self) -> None:
        """After a drain, and with nothing in flight, tell whose settled rows wait for nothing any more."""
        if not self._tasks:
            for load, settled in self._waiting.items():
                if not settled.done() and load.without_gap:
                    settled.set_result(None)

    @property
    def _settled(self) -> int:
        """Items that the target has taken up to now."""
        return self._meter.items_written + self._meter.items_deleted + self._meter.items_skipped

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin_renewal(self, detail: str) -> None:
        """Ask for fresh credentials, once for all requests that the old ones failed."""
        self._renewals += 1
        self._vain_renewals += 1
        if self._vain_renewals > RENEWALS_MAX:
            raise PermanentError(
                f"the target goes on calling the credentials expired ({detail}): "
                "look at this machine's clock and at target.profile, then run again"
            )
        self._renewal = self._loop.create_task(self._renew_credentials(self._vain_renewals))

    async def _renew_credentials(self, attempt: int) -> None:
        try:
            if attempt > 1:
                await asyncio.sleep(jittered(attempt, RENEWAL_BASE_S, RENEWAL_CAP_S, self._random))
            await self._renew()
        except Exception as error:  # told to everyone who waits in write()
            self._fail(error)
        finally:
            self._renewal = None
            self._pump()

    async def _await_lease(self) -> None:
        """Hold everything until the lease goes on, or is known to be lost."""
        try:
            while not self._tenure.held and self._tenure.lost is None:  # noqa: ASYNC110 - a clock's doing
                await asyncio.sleep(LEASE_LOOK_S)
            if self._tenure.lost is not None:
                self._fail(PermanentError(self._tenure.lost))
        finally:
            self._renewal = None
            self._pump()

    def _fail(self, error: Exception) -> None:
        """Let every write fail, now and later."""
        if self._error is not None:
            return
        self._error = error
        self._wake_held_back()
        self._queue.clear()
        self._held = None
        self._stop_timer()
        for settled in self._waiting.values():
            if not settled.done():
                settled.set_exception(error)
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()
