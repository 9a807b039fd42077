"""A circuit breaker before the target: when to send no more than a probe, when to give up.

Invariant: one notice when the target goes away, one when it is back.
"""

from collections.abc import Callable
from random import Random

from connectors.dynamodb.writing.decisions import CircuitClosed, CircuitOpen
from engine.errors import RetriesExhausted
from engine.retry import RetryPolicy
from engine.throttle.decisions import Tell, ignore

FAILURES_MIN, AWAY_S = 4, 2.0
FAILURES_MANY, AWAY_SOON_S = 16, 0.1
"""So many failures with no success between them, for so long, and the target counts as away. Where one in
three requests fails by chance, four in a row are nothing, and sixteen come at once where failing is quicker
than writing."""

PROBES = RetryPolicy(0.1, 10.0)


class CircuitBreaker:
    """Follows requests that failed, and successes. Units: seconds."""

    def __init__(
        self,
        table: str,
        give_up_after_s: float,
        notice: Callable[[str], None],
        random: Random,
        tell: Tell = ignore,
    ) -> None:
        self._table = table
        self._give_up_after_s = give_up_after_s
        self.notice = notice
        self._random = random
        self._tell = tell
        self._failures = self._probes = 0
        self._since: float | None = None
        self.open = False
        """Whether only one request at a time should go, to see whether the target is back."""
        self.probe_at = 0.0
        """Not before then."""

    def failed(self, detail: str, now: float) -> None:
        """Take in one failure. Raises: RetriesExhausted when they have gone on for too long."""
        self._failures += 1
        if self._since is None:
            self._since = now
        if now - self._since >= self._give_up_after_s:
            raise RetriesExhausted(
                f"table {self._table} was away for {self._give_up_after_s:g} s (target.give_up_after_s): "
                f"{detail}; run again when it is back"
            )
        if self._is_away(now) and now >= self.probe_at:
            if not self.open:
                self.open = True
                self.notice(f"table {self._table} can't be reached ({detail}): waiting for it")
            self._probes += 1
            pause_s = PROBES.pause_s(self._probes, self._random)
            self.probe_at = min(now + pause_s, self._since + self._give_up_after_s)
            self._tell(CircuitOpen(self._probes, self.probe_at - now, detail))

    def _is_away(self, now: float) -> bool:
        lasts_s = self.lasts_s(now)
        few = self._failures >= FAILURES_MIN and lasts_s >= AWAY_S
        return self.open or few or (self._failures >= FAILURES_MANY and lasts_s >= AWAY_SOON_S)

    def lasts_s(self, now: float) -> float:
        """Return for how long nothing but failures has come; 0 where the last answer was good."""
        return 0.0 if self._since is None else now - self._since

    def succeeded(self, now: float) -> None:
        """Take in an answer of a target that works."""
        if self._since is None:
            return
        if self.open:
            self.notice(f"table {self._table} is back")
            self._tell(CircuitClosed(now - self._since))
        self._since = None
        self._failures = self._probes = 0
        self.open = False
        self.probe_at = 0.0
