"""One request from the queue to its answer: taken, paced, sent, judged, completed. This is the page to read.

Invariant: a request that is out is one task; while something holds everything up, or after an error that
concerns everybody, none is started.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from connectors.dynamodb.http.connection import TransportError
from connectors.dynamodb.http.sender import Sender
from connectors.dynamodb.writing import answers
from connectors.dynamodb.writing.completion import CompletionHandler
from connectors.dynamodb.writing.flight import Flight
from connectors.dynamodb.writing.interruption import Interruption
from connectors.dynamodb.writing.request_builder import RequestBuilder
from connectors.dynamodb.writing.requests import Request
from connectors.dynamodb.writing.send_queue import SendQueue
from connectors.dynamodb.writing.settings import WriterSettings
from connectors.dynamodb.writing.throttling import Throttling
from engine.meter import Meter
from engine.tenure import NEVER, LeaseOver
from engine.throttle.concurrency import FLIGHT_MAX


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
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _flight: Flight = field(default_factory=Flight)
    _paced: Request | None = None
    """A request that waits for the pace."""
    _timer: asyncio.TimerHandle | None = None
    _stopped: bool = False

    @property
    def idle(self) -> bool:
        """Whether nothing is out."""
        return not self._tasks

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
        return at == NEVER and not self._tasks

    def _start_next(self, now: float) -> float | None:
        """Start one request. Returns None, or when there may be one to start, NEVER if after an answer."""
        throttling = self._throttling
        width = 1 if throttling.breaker.open else throttling.concurrency.limit
        if len(self._tasks) >= width and (self._flight.full(width) or len(self._tasks) >= FLIGHT_MAX):
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
        self._meter.requests_in_flight += 1
        if request.again:
            self._meter.retries += 1
        epoch = throttling.pace.take(request.units, now)
        task = self._loop.create_task(self._send(request, epoch, self._interruption.renewals))
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, self._flight.sent()))
        return None

    async def _send(self, request: Request, epoch: int, renewals: int) -> None:
        try:
            call = self._builder.call(request)
            answer = await self._sender.send(call.operation, call.parts)
            verdict = answers.judge(self._settings.mode.read, answer, request.items)
            if isinstance(verdict, answers.Unprocessed):
                verdict = answers.fates_of([item.text for item in request], verdict, self._settings.key)
            self._completion.complete(request, epoch, verdict, answer, self._loop.time())
            if isinstance(verdict, answers.Expired):
                self._interruption.expired(verdict.detail, renewals)
            else:
                self._interruption.vain_renewals = 0
        except LeaseOver:
            self._queue.again(request.spans, self._loop.time())
            self._interruption.await_lease()
        except TransportError as error:
            self._lost(request, error)
        except Exception as error:  # told to everyone who waits in write()
            self._on_error(error)

    def _lost(self, request: Request, error: TransportError) -> None:
        self._meter.requests["error"] += 1
        was_open = self._throttling.breaker.open
        try:
            self._completion.failed(request, str(error), self._loop.time(), unknown=error.sent)
            if self._throttling.breaker.open and not was_open:
                self._flight.give_up()
        except Exception as error:  # told to everyone who waits in write()
            self._on_error(error)

    def _ended(self, number: int, task: asyncio.Task[None]) -> None:
        """Go on after a request, one that was cancelled before it began included."""
        self._tasks.discard(task)
        self._flight.ended(number)
        self._meter.requests_in_flight -= 1
        self._go_on()

    def stop(self) -> None:
        """Start nothing any more, and cancel what is out, but for the task that says so."""
        self._stopped = True
        self._queue.clear()
        self._paced = None
        if self._timer is not None:
            self._timer.cancel()
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()

    async def close(self) -> None:
        """End every task."""
        self.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
