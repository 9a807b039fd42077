"""What answers do: items settled or queued again, paces and figures kept, errors raised. Knows no event loop.

Invariant: every item of a lot ends up settled or in the queue, and nowhere twice. An item that may have been
applied isn't called so before an answer said so: it is sent again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from connectors.dynamodb.http.connection import Answer
from connectors.dynamodb.section import Mode
from connectors.dynamodb.writing import answers
from connectors.dynamodb.writing.answers import Cause, Consumed, Fate, Refusal, Verdict
from connectors.dynamodb.writing.heat import Heat
from connectors.dynamodb.writing.loads import NEVER, Load, Lot, Run
from connectors.dynamodb.writing.locality import WINDOW_S, Locality
from connectors.dynamodb.writing.lots import Queue
from connectors.dynamodb.writing.outage import Outage
from connectors.dynamodb.writing.refusals import Refusals
from connectors.dynamodb.writing.requests import Envelope
from engine.batch import DeadLetter
from engine.errors import PermanentError, RetriesExhausted
from engine.meter import TABLE, Meter
from engine.throttle.gate import Gate
from engine.throttle.pace import Pace
from engine.throttle.pauses import jittered

THROTTLE_BASE_S, THROTTLE_CAP_S = 0.02, 0.5
"""Pauses of rejected items. Short, because the pace is what spares the table."""

FAILURE_BASE_S, FAILURE_CAP_S = 0.05, 5.0
CHANCE_CAP_S, CHANCE_S = 0.2, 1.0
"""Pauses of items whose request failed: short ones while others have succeeded within the last CHANCE_S, for
it was chance then, and a batch waits for the last of its items."""

FEW_PARTITIONS = 2
"""A request rejected for a hot partition tells which one only if it holds so few partition keys."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the writer knows about the job.

    Units: `give_up_after_s` seconds without any success; `wcu_start` write units per second to begin with.
    """

    mode: Mode
    table: str
    key: tuple[str, ...]
    """The table's key attributes."""
    rules: tuple[str, ...]
    source_key: tuple[str, ...]
    """The source columns that name a row in a dead letter."""
    give_up_after_s: float
    fail_on_refusal: bool = False
    stop_after_refusals: int | None = None
    """So many items refused with none written between them end it all."""
    wcu_start: float = NEVER


class Settling:
    """The state of one table's writes that answers change."""

    def __init__(self, terms: Terms, outage: Outage, meter: Meter, random: Random, now: float) -> None:
        self.terms = terms
        self.envelope = Envelope(terms.mode, terms.table)
        self.queue = Queue(self.envelope.items_max, self.envelope.bytes_max)
        self.pace = Pace(now, terms.wcu_start)
        self.gate = Gate(now)
        self.outage = outage
        self._refusals = Refusals(terms.table, terms.stop_after_refusals, random)
        self._heat = Heat(now)
        self._locality = Locality(now)
        self._local = False
        """Whether what is rejected lately is the affair of some partitions."""
        self._watched_until = now
        """Until then answers without a rejection are evidence too."""
        self._meter = meter
        self._random = random
        self.finished: list[Load] = []
        """Batches of which the last item has been settled; whoever waits for them takes them out."""

    def settle(self, lot: Lot, epoch: int, verdict: Verdict, answer: Answer, now: float) -> None:
        """Do what an answer means. `epoch` is what the pace gave when the request was sent.

        Raises: PermanentError, RetriesExhausted.
        """
        if isinstance(verdict, answers.Unprocessed):
            verdict = self._matched(lot, verdict)
        match verdict:
            case answers.Done(consumed):
                self._answered("ok", answer, now)
                self._account(lot, epoch, consumed, (), "unknown", now)
                for run in lot.runs:
                    self._applied(run)
                if self._refusals.requests:
                    self._succeeded()
            case answers.Each(fates, consumed):
                throttled = Fate.THROTTLED in fates
                self._answered("partial" if throttled or Fate.FAILED in fates else "ok", answer, now)
                self._sort_out(lot, epoch, fates, consumed, "unknown", now)
            case answers.Throttled(cause):
                self._answered("throttled", answer, now)
                self._meter.throttled[cause] += 1
                self._sort_out(lot, epoch, [Fate.THROTTLED] * lot.items, Consumed(), cause, now)
            case answers.Conflict():
                self._answered("error", answer, now)
                self._sort_out(lot, epoch, [Fate.FAILED] * lot.items, Consumed(), "unknown", now)
            case answers.Refused(detail) if lot.asked < self.envelope.asked or self._asks_too_much(detail):
                self._answered("refused", answer, now)
                self._ask_less(lot, detail, now)
            case answers.Refused(detail):
                self._answered("refused", answer, now)
                self._account(lot, epoch, Consumed({}, 0.0), (), "unknown", now)
                self._refused(lot, detail)
            case answers.Unavailable(detail):
                self._meter.answered("error", answer.seconds)
                self.failed(lot, detail, now)
            case answers.Fatal():
                self._meter.answered("refused", answer.seconds)
                raise PermanentError(answers.explain(verdict, self.envelope.operation, self.terms.table))
            case answers.Expired():
                self._meter.answered("error", answer.seconds)
                self.queue.again(lot.runs, now)

    def _asks_too_much(self, detail: str) -> bool:
        return self.envelope.counted and answers.CAPACITY_UNKNOWN.search(detail) is not None

    def _ask_less(self, lot: Lot, detail: str, now: float) -> None:
        """Send again what was refused for its question about capacity, with a smaller one or none."""
        if lot.asked == self.envelope.asked:
            self.envelope.ask_less()
            if lot.asked == 0:
                self.outage.notice(
                    f"table {self.terms.table}'s server doesn't tell capacity index by index ({detail}):"
                    " what it tells is counted, and what it doesn't is estimated from the items' sizes"
                )
        self.queue.again(lot.runs, now)

    def _matched(self, lot: Lot, verdict: answers.Unprocessed) -> answers.Each | answers.Unavailable:
        texts = [item.load.encoded.item(item.start) for item in lot]
        places = answers.match_unprocessed(texts, verdict.entries, self.terms.key)
        if places is None:
            return answers.Unavailable("UnprocessedItems names items that weren't sent")
        fates: list[Fate | Refusal] = [Fate.APPLIED] * lot.items
        for place in places:
            fates[place] = Fate.THROTTLED
        return answers.Each(fates, verdict.consumed)

    def _answered(self, outcome: str, answer: Answer, now: float) -> None:
        """Take in an answer of a target that works, whatever it says."""
        self._meter.answered(outcome, answer.seconds)
        self.gate.answered(answer.seconds, now)
        self.outage.succeeded()

    def _sort_out(
        self,
        lot: Lot,
        epoch: int,
        fates: Sequence[Fate | Refusal],
        consumed: Consumed,
        cause: Cause,
        now: float,
    ) -> None:
        """Settle the items of a request that ended differently, or send them again."""
        items = list(lot)
        rejected = [item for item, fate in zip(items, fates, strict=True) if fate is Fate.THROTTLED]
        if rejected:
            if len(rejected) < len(items):
                self._meter.items_unprocessed += len(rejected)
            self._park(items, rejected, cause, now)
        self._account(lot, epoch, consumed, rejected, cause, now)
        if self._refusals.requests and (Fate.APPLIED in fates or Fate.SKIPPED in fates):
            self._succeeded()
        for item, fate in zip(items, fates, strict=True):
            match fate:
                case Fate.APPLIED:
                    self._applied(item)
                case Fate.SKIPPED:
                    # After a lost answer this may be our own write. To tell would cost a read: it counts as
                    # skipped, and what is in the table is right either way.
                    item.load.skip(item.start)
                    self._meter.items_skipped += 1
                    self._conclude(item.load)
                case Refusal(detail):
                    self._refused(Lot([item], 1, item.units, exact=True), detail)
        self._send_again(rejected, now)
        self._send_failed_again(
            [item for item, fate in zip(items, fates, strict=True) if fate is Fate.FAILED], now
        )

    def _park(self, items: Sequence[Run], rejected: Sequence[Run], cause: Cause, now: float) -> None:
        """Give lanes to the partition keys that prove to be hot."""
        lanes = self.queue.lanes
        # Only what is rejected for the first time is evidence: one item again and again makes no key hot.
        cool = [item.partition for item in rejected if not item.attempts and item.partition not in lanes]
        if not cool:
            return
        if len(rejected) < len(items):
            everybody = [partition for item in items if (partition := item.partition) not in lanes]
            hot = self._heat.observe(everybody, cool, now)
        elif cause == "partition" and len(set(cool)) <= FEW_PARTITIONS:
            hot = self._heat.blame(set(cool), now)
        else:
            return
        for partition in hot:
            self.queue.park(partition, now)
        if hot:
            self.pace.pardon(now)

    def _account(
        self,
        lot: Lot,
        epoch: int,
        consumed: Consumed,
        rejected: Sequence[Run],
        cause: Cause,
        now: float,
    ) -> None:
        """Tell the paces what was spent and what was rejected; a hot key's rejections are its own affair."""
        for index, units in consumed.units.items():
            self._meter.consumed[index] += units
        lost = sum(item.units for item in rejected)
        if not self.envelope.counted and consumed.drawn is None:
            self._meter.consumed[TABLE] += lot.units - lost
        spent = lot.units - lost if consumed.drawn is None else consumed.drawn
        lanes = self.queue.lanes
        cool = [item for item in rejected if item.partition not in lanes] if lanes else rejected
        if rejected or now < self._watched_until:
            self._locate(lot, cool, cause, now)
        self.pace.settle(
            epoch, lot.units, spent, 0.0 if self._local else sum(item.units for item in cool), now
        )
        for share in lot.shares:
            own = sum(item.units for item in rejected if item.partition == share.partition)
            share.lane.pace.settle(share.epoch, share.units, share.units - own, own, now)

    def _locate(self, lot: Lot, rejected: Sequence[Run], cause: Cause, now: float) -> None:
        """Find out whether rejections stick to some items: then they say nothing of the table."""
        lanes = self.queue.lanes
        runs = [run for run in lot.runs if run.partition not in lanes] if lanes else lot.runs
        if rejected:
            self._watched_until = now + 2 * WINDOW_S
        again = sum(run.stop - run.start for run in runs if run.attempts)
        again_rejected = sum(1 for item in rejected if item.attempts)
        items = sum(run.stop - run.start for run in runs)
        self._locality.observe(items - again, len(rejected) - again_rejected, again, again_rejected, now)
        was, self._local = self._local, self._locality.local(now, suspected=bool(lanes)) and cause != "table"
        if self._local and not was:
            self.pace.pardon(now)

    def _send_again(self, rejected: Sequence[Run], now: float) -> None:
        """Send rejected items again: those of hot keys first in their lane, the others after a pause."""
        if not rejected:
            return
        at = now + jittered(rejected[0].attempts + 1, THROTTLE_BASE_S, THROTTLE_CAP_S, self._random)
        lanes = self.queue.lanes
        rest: list[Run] = []
        for item in reversed(rejected):
            item = item._replace(attempts=item.attempts + 1, failing_since=NEVER)
            lane = lanes.get(item.partition)
            if lane is None:
                rest.append(item)
            else:
                lane.runs.appendleft(item)
                lane.not_before = now + jittered(1, THROTTLE_BASE_S, THROTTLE_CAP_S, self._random)
        self.queue.again(reversed(rest), at)

    def failed(self, lot: Lot, detail: str, now: float) -> None:
        """Take in a request of which nobody knows whether it was applied, or that never left.

        Raises: RetriesExhausted.
        """
        self.gate.failed()
        self.outage.failed(detail, now)
        self._send_failed_again(lot.runs, now)

    def _send_failed_again(self, runs: Sequence[Run], now: float) -> None:
        if not runs:
            return
        cap_s = FAILURE_CAP_S if self.outage.lasts_s(now) > CHANCE_S else CHANCE_CAP_S
        at = now + jittered(runs[0].attempts + 1, FAILURE_BASE_S, cap_s, self._random)
        again = [
            run._replace(attempts=run.attempts + 1, failing_since=min(run.failing_since, now)) for run in runs
        ]
        if any(now - run.failing_since >= self.terms.give_up_after_s for run in again):
            raise RetriesExhausted(
                f"table {self.terms.table} has failed on the same items for "
                f"{self.terms.give_up_after_s:g} s (target.give_up_after_s); run again"
            )
        self.queue.again(again, at)

    def _applied(self, run: Run) -> None:
        deleted = run.load.applied(run.start, run.stop)
        self._meter.items_deleted += deleted
        self._meter.items_written += run.stop - run.start - deleted
        self._conclude(run.load)

    def _refused(self, lot: Lot, detail: str) -> None:
        if self.terms.fail_on_refusal and lot.items == 1:
            self._bury(lot.runs[0], detail)
        self.queue.exactly(self._refusals.refused(lot, detail))

    def _succeeded(self) -> None:
        """Take in that something was written: what was refused meanwhile has itself to blame."""
        self._let_go(self._refusals.succeeded())

    def idle(self) -> bool:
        """Let go of what waits for a success, as nothing is left that might be one; False if nothing does."""
        held = self._refusals.idle()
        self._let_go(held)
        return bool(held)

    def _let_go(self, held: Sequence[tuple[Lot, str]]) -> None:
        for lot, detail in held:
            if lot.items == 1:
                self._bury(lot.runs[0], detail)
            else:
                self.queue.exactly(lot.halves())

    def _bury(self, item: Run, detail: str) -> None:
        """Settle an item that the target refuses for good."""
        encoded, index = item.load.encoded, item.start
        rows, row = encoded.batch.rows, int(encoded.rows[index])
        letter = DeadLetter(
            rule=self.terms.rules[int(encoded.rules[index])],
            reason="rejected_by_target",
            detail=detail,
            source_key={name: rows.column(name)[row].as_py() for name in self.terms.source_key},
            item_json=self.envelope.item_json(encoded, index),
        )
        if self.terms.fail_on_refusal:
            raise PermanentError(
                f"an item of rule {letter.rule} is refused by table {self.terms.table} ({detail}): "
                "mend the rule, or set options.on_invalid to dead_letter"
            )
        item.load.bury(index, letter)
        self._conclude(item.load)

    def _conclude(self, load: Load) -> None:
        if load.unsettled == 0:
            self.finished.append(load)
