"""One request from the queue to its answer: taken, paced, sent, judged, completed. This is the page to read.

An answer calls back, and what it means is done before anything else is: nothing waits in between. Only a
request that has to wait for a connection, for credentials or for room to write is a task until it is sent.

Invariant: while something holds everything up, or after an error that concerns everybody, none is started;
one that is out ends once.
"""

import asyncio
from collections.abc import Callable
from dataclasses import field
from functools import partial

from connectors.dynamodb.http.connection import Answer, TransportError
from connectors.dynamodb.http.sender import Exchange, Sender
from connectors.dynamodb.writing import answers
from connectors.dynamodb.writing.completion import CompletionHandler
from connectors.dynamodb.writing.flight import Flight
from connectors.dynamodb.writing.interruption import Interruption
from connectors.dynamodb.writing.request_builder import ApiCall, RequestBuilder
from connectors.dynamodb.writing.requests import Request
from connectors.dynamodb.writing.send_queue import SendQueue
from connectors.dynamodb.writing.settings import WriterSettings
from connectors.dynamodb.writing.throttling import Throttling
from engine.frozen import dataclass
from engine.meter import Meter
from engine.tenure import NEVER, LeaseOver
from engine.throttle.concurrency import FLIGHT_MAX


@dataclass(eq=False, slots=True)
class Sent:
    """A request that is out: its epoch of the pace, its number in flight, the renewals before it."""

    request: Request
    epoch: int
    number: int
    renewals: int
    exchange: Exchange | None = None


@dataclass(eq=False, slots=True)
class Dispatcher:
    """Starts requests in their turn. `go_on` is called when more may start, `on_error` when all must end."""

    _settings: WriterSettings
    _sender: Sender
    _builder: RequestBuilder
    _queue: SendQueue
    _throttling: Throttling
    _completion: CompletionHandler
    _interruption: Interruption
    _meter: Meter
    _go_on: Callable[[], None]
    _on_error: Callable[[Exception], None]
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _out: set[Sent] = field(default_factory=set)
    _waiting: set[asyncio.Task[None]] = field(default_factory=set)
    """Requests that are out and have to wait for something before they are sent."""
    _flight: Flight = field(default_factory=Flight)
    _paced: Request | None = None
    """A request that waits for the pace."""
    _timer: asyncio.TimerHandle | None = None
    _turning: bool = False
    """Whether some have ended, and it hasn't been gone on since."""
    _stopped: bool = False

    @property
    def idle(self) -> bool:
        """Whether nothing is out."""
        return not self._out

    def start(self) -> bool:
        """Start every request that may start now, and be called again when the next one may.

        Returns whether nothing is out and nothing is left to be sent, now or later.
        """
        if self._stopped or self._interruption.task is not None:
            return False
        now = self._loop.time()
        while (at := self._start_next(now)) is None:
            pass
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._go_on) if at != NEVER else None
        return at == NEVER and not self._out

    def _start_next(self, now: float) -> float | None:
        """Start one request. Returns None, or when there may be one to start, NEVER if after an answer."""
        throttling = self._throttling
        width = 1 if throttling.breaker.open else throttling.concurrency.limit
        if len(self._out) >= width and (self._flight.full(width) or len(self._out) >= FLIGHT_MAX):
            throttling.concurrency.wanted()
            return NEVER
        if now < throttling.breaker.probe_at:
            return throttling.breaker.probe_at
        request = self._paced or self._queue.take(now, throttling.pace.request_units)
        self._paced = None
        if request is None:
            return self._queue.next_at(now)
        if (wait_s := throttling.pace.wait_s(request.units, now)) > 0.0:
            self._paced = request
            return now + wait_s
        self._send(request, throttling.pace.take(request.units, now))
        return None

    def _send(self, request: Request, epoch: int) -> None:
        """Send a request, at once if a connection is free; `_ended` is told later."""
        self._meter.requests_in_flight += 1
        if request.again:
            self._meter.retries += 1
        sent = Sent(request, epoch, self._flight.sent(), self._interruption.renewals)
        self._out.add(sent)
        ended = partial(self._ended, sent)
        call = self._builder.call(request)
        try:
            sent.exchange = self._sender.begin(call.operation, call.parts, ended)
        except Exception as error:  # what became of it, as any other
            sent.exchange = self._loop.call_soon(ended, error)
        if sent.exchange is None:
            sent.exchange = task = self._loop.create_task(self._send_in_turn(call, ended))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def _send_in_turn(self, call: ApiCall, ended: Callable[[Answer | Exception], None]) -> None:
        try:
            outcome: Answer | Exception = await self._sender.send(call.operation, call.parts)
        except Exception as error:  # what became of it, as any other
            outcome = error
        ended(outcome)

    def _ended(self, sent: Sent, outcome: Answer | Exception) -> None:
        """Take in how a request ended, and go on once the others that ended with it are taken in."""
        sent.exchange = None  # which leads back to it: batches mustn't wait for the garbage collector
        self._out.discard(sent)
        self._flight.ended(sent.number)
        self._meter.requests_in_flight -= 1
        try:
            if isinstance(outcome, Answer):
                self._answered(sent, outcome)
            else:
                self._unanswered(sent.request, outcome)
        except Exception as error:  # told to everyone who waits in write()
            self._on_error(error)
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Go on after all the answers that came in one turn of the event loop."""
        self._turning = False
        self._go_on()

    def _answered(self, sent: Sent, answer: Answer) -> None:
        request = sent.request
        verdict = answers.judge(self._settings.mode.read, answer, request.items)
        if isinstance(verdict, answers.Unprocessed):
            verdict = answers.fates_of([item.text for item in request], verdict, self._settings.key)
        self._completion.complete(request, sent.epoch, verdict, answer, self._loop.time())
        if isinstance(verdict, answers.Expired):
            self._interruption.expired(verdict.detail, sent.renewals)
        else:
            self._interruption.vain_renewals = 0

    def _unanswered(self, request: Request, error: Exception) -> None:
        """Take in that a request wasn't sent, or nobody knows. Raises: whatever concerns everybody."""
        now, breaker = self._loop.time(), self._throttling.breaker
        match error:
            case LeaseOver():
                self._queue.again(request.spans, now)
                self._interruption.await_lease()
            case TransportError():
                self._meter.requests["error"] += 1
                was_open = breaker.open
                self._completion.failed(request, str(error), now, unknown=error.sent)
                if breaker.open and not was_open:
                    self._flight.give_up()
            case _:
                raise error

    def stop(self) -> None:
        """Start nothing any more, and abandon what is out."""
        self._stopped = True
        self._queue.clear()
        self._paced = None
        if self._timer is not None:
            self._timer.cancel()
        self._meter.requests_in_flight -= len(self._out)
        for sent in self._out:
            if sent.exchange is not None:
                sent.exchange.cancel()
        self._out.clear()

    async def close(self) -> None:
        """Abandon what is out and end every task."""
        self.stop()
        await asyncio.gather(*self._waiting, return_exceptions=True)
