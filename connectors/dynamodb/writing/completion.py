"""What an answer does: every item of its request is settled or queued again. Knows no event loop.

Invariant: no item is in two places. One that may have been applied isn't called so before an answer said so:
it is sent again.
"""

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import assert_never

from connectors.dynamodb.http.connection import Answer
from connectors.dynamodb.writing import answers
from connectors.dynamodb.writing.answers import Cause, Consumed, Fate, Refusal, Verdict
from connectors.dynamodb.writing.decisions import RequestRefused
from connectors.dynamodb.writing.open_batch import OpenBatch
from connectors.dynamodb.writing.refusals import Refusals, letter_of
from connectors.dynamodb.writing.request_builder import RequestBuilder
from connectors.dynamodb.writing.requests import ItemSpan, Request, request_of
from connectors.dynamodb.writing.send_queue import SendQueue
from connectors.dynamodb.writing.settings import WriterSettings
from connectors.dynamodb.writing.throttling import Throttling
from connectors.dynamodb.writing.unknown_requests import UnknownRequests
from engine.errors import PermanentError, RetriesExhausted
from engine.frozen import dataclass
from engine.meter import TABLE, Meter
from engine.tenure import NEVER
from engine.throttle.decisions import Tell


@dataclass(eq=False, slots=True)
class CompletionHandler:
    """Completes requests: hands each part of an answer to whom it concerns."""

    _settings: WriterSettings
    _builder: RequestBuilder
    _queue: SendQueue
    _throttling: Throttling
    _unknown: UnknownRequests
    _refusals: Refusals
    _meter: Meter
    _notice: Callable[[str], None]
    _tell: Tell
    finished: list[OpenBatch] = field(default_factory=list)
    """Batches of which the last item has been settled; whoever waits for them takes them out."""

    def complete(self, request: Request, epoch: int, verdict: Verdict, answer: Answer, now: float) -> None:
        """Do what an answer means. `epoch` is what the pace gave when the request was sent.

        Raises: PermanentError, RetriesExhausted.
        """
        match verdict:
            case answers.Done(consumed):
                self._answered("ok", answer, now)
                self._account(request, epoch, consumed, (), "unknown", now)
                for span in request.spans:
                    self._applied(span)
                if self._refusals.requests:
                    self._let_go(self._refusals.succeeded())
            case answers.Each(fates, consumed):
                throttled = Fate.THROTTLED in fates
                self._answered("partial" if throttled or Fate.FAILED in fates else "ok", answer, now)
                self._sort_out(request, epoch, fates, consumed, "unknown", now)
            case answers.Throttled(cause):
                self._answered("throttled", answer, now)
                self._meter.throttled[cause] += 1
                self._sort_out(request, epoch, [Fate.THROTTLED] * request.items, Consumed(), cause, now)
            case answers.Conflict():
                self._answered("error", answer, now)
                self._sort_out(request, epoch, [Fate.FAILED] * request.items, Consumed(), "unknown", now)
            case answers.Refused(detail) if self._builder.asks_too_much(request, detail):
                self._answered("refused", answer, now)
                self._ask_less(request, detail, now)
            case answers.Refused(detail):
                self._answered("refused", answer, now)
                self._account(request, epoch, Consumed({}, 0.0), (), "unknown", now)
                self._tell(RequestRefused(request.items, detail))
                self._refused(request, detail)
            case answers.Unavailable(detail):
                self._meter.answered("error", answer.seconds)
                self.failed(request, detail, now, unknown=True)
            case answers.Fatal():
                self._meter.answered("refused", answer.seconds)
                raise answers.explained(verdict, self._settings.mode.operation, self._settings.table)
            case answers.Expired():
                self._meter.answered("error", answer.seconds)
                self._queue.again(request.spans, now)
            case _:
                assert_never(verdict)

    def failed(self, request: Request, detail: str, now: float, *, unknown: bool) -> None:
        """Take in a request without an answer. `unknown`: nobody knows whether it was applied.

        Raises: RetriesExhausted.
        """
        if unknown:
            self._unknown.add(request, now)
        self._throttling.failed(detail, now)
        self._send_failed_again(request.spans, now)

    def idle(self) -> bool:
        """Let go of what waits for a success, as nothing is left that might be one; False if nothing does."""
        held = self._refusals.idle()
        self._let_go(held)
        return bool(held)

    def _answered(self, outcome: str, answer: Answer, now: float) -> None:
        """Take in an answer of a target that works, whatever it says."""
        self._meter.answered(outcome, answer.seconds)
        self._throttling.answered(answer.seconds, now)

    def _account(
        self,
        request: Request,
        epoch: int,
        consumed: Consumed,
        rejected: Sequence[ItemSpan],
        cause: Cause,
        now: float,
    ) -> None:
        """Count what was spent, as told or as estimated, and let it have its effect on who is slowed down."""
        for index, units in consumed.units.items():
            self._meter.consumed[index] += units
        applied = request.units - (sum(item.units for item in rejected) if rejected else 0)
        if consumed.drawn is None and not self._builder.counted:
            self._meter.consumed[TABLE] += applied
        spent = applied if consumed.drawn is None else consumed.drawn
        self._throttling.account(request, epoch, spent, rejected, cause, now)

    def _sort_out(
        self,
        request: Request,
        epoch: int,
        fates: Sequence[Fate | Refusal],
        consumed: Consumed,
        cause: Cause,
        now: float,
    ) -> None:
        """Settle the items of a request that ended differently, or send them again."""
        items = list(request)
        rejected = [item for item, fate in zip(items, fates, strict=True) if fate is Fate.THROTTLED]
        if rejected:
            if len(rejected) < len(items):
                self._meter.items_unprocessed += len(rejected)
            self._throttling.find_hot_keys(items, rejected, cause, now)
        self._account(request, epoch, consumed, rejected, cause, now)
        if self._refusals.requests and (Fate.APPLIED in fates or Fate.SKIPPED in fates):
            self._let_go(self._refusals.succeeded())
        for item, fate in zip(items, fates, strict=True):
            match fate:
                case Fate.APPLIED:
                    self._applied(item)
                case Fate.SKIPPED:
                    # After a lost answer this may be our own write. To tell would cost a read: it counts as
                    # skipped, and what is in the table is right either way.
                    item.batch.skip(item.start)
                    self._meter.items_skipped += 1
                    self._conclude(item.batch)
                case Refusal(detail):
                    self._refused(request_of([item]), detail)
        self._send_rejected_again(rejected, now)
        self._send_failed_again(
            [item for item, fate in zip(items, fates, strict=True) if fate is Fate.FAILED], now
        )

    def _send_rejected_again(self, rejected: Sequence[ItemSpan], now: float) -> None:
        """Send rejected items again: those of hot keys first in their lane, the others after a pause."""
        if not rejected:
            return
        at = now + self._throttling.rejection_pause_s(rejected[0].attempts + 1, len(rejected))
        lanes = self._throttling.lanes
        lane_at = now + self._throttling.rejection_pause_s() if lanes.by_key else at
        again = [item._replace(attempts=item.attempts + 1, failing_since=NEVER) for item in rejected]
        rest = [item for item in reversed(again) if not lanes.take_back(item, lane_at)]
        self._queue.again(reversed(rest), at)

    def _send_failed_again(self, spans: Sequence[ItemSpan], now: float) -> None:
        if not spans:
            return
        at = now + self._throttling.failure_pause_s(spans, now)
        again = [
            span._replace(attempts=span.attempts + 1, failing_since=min(span.failing_since, now))
            for span in spans
        ]
        patience_s = self._settings.give_up_after_s
        if any(now - span.failing_since >= patience_s for span in again):
            raise RetriesExhausted(
                f"table {self._settings.table} has failed on the same items for "
                f"{patience_s:g} s (target.give_up_after_s); run again"
            )
        self._queue.again(again, at)

    def _ask_less(self, request: Request, detail: str, now: float) -> None:
        """Send again what was refused for its question about capacity, with a smaller one or none."""
        if (news := self._builder.ask_less(request, detail)) is not None:
            self._notice(news)
        self._queue.again(request.spans, now)

    def _applied(self, span: ItemSpan) -> None:
        deleted = span.batch.applied(span.start, span.stop)
        self._meter.items_deleted += deleted
        self._meter.items_written += span.stop - span.start - deleted
        self._conclude(span.batch)

    def _refused(self, request: Request, detail: str) -> None:
        if self._settings.fail_on_refusal and request.items == 1:
            self._bury(request.spans[0], detail)
        self._queue.next(self._refusals.refused(request, detail))

    def _let_go(self, held: Sequence[tuple[Request, str]]) -> None:
        """Settle what was held until it was known to be to blame, or take it apart."""
        for request, detail in held:
            if request.items == 1:
                self._bury(request.spans[0], detail)
            else:
                self._queue.next(request.halves())

    def _bury(self, item: ItemSpan, detail: str) -> None:
        """Settle an item that the target refuses for good. Raises: PermanentError with `on_invalid: fail`."""
        letter = letter_of(item, detail, self._settings, self._builder)
        if self._settings.fail_on_refusal:
            raise PermanentError(
                f"an item of rule {letter.rule} is refused by table {self._settings.table} ({detail}): "
                "mend the rule, or set options.on_invalid to dead_letter"
            )
        item.batch.refuse(item.start, letter)
        self._conclude(item.batch)

    def _conclude(self, batch: OpenBatch) -> None:
        if batch.unsettled == 0:
            self.finished.append(batch)
