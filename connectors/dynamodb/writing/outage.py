"""Whether the target is there: when to send no more than a probe, when to give up. Pure but for the notices.

Invariant: one notice when the target goes away, one when it is back.
"""

from collections.abc import Callable
from random import Random

from engine.errors import RetriesExhausted
from engine.throttle.pauses import jittered

FAILURES_MIN, AWAY_S = 4, 2.0
FAILURES_MANY, AWAY_SOON_S = 16, 0.1
"""So many failures with no success between them, for so long, and the target counts as away. Where one in
three requests fails by chance, four in a row are nothing, and sixteen come at once where failing is quicker
than writing."""

PROBE_BASE_S, PROBE_CAP_S = 0.1, 10.0


class Outage:
    """Follows requests that failed, and successes. Units: seconds."""

    __slots__ = (
        "_failures",
        "_give_up_after_s",
        "_probes",
        "_random",
        "_since",
        "_table",
        "away",
        "notice",
        "probe_at",
    )

    def __init__(
        self, table: str, give_up_after_s: float, notice: Callable[[str], None], random: Random
    ) -> None:
        self._table = table
        self._give_up_after_s = give_up_after_s
        self.notice = notice
        self._random = random
        self._failures = self._probes = 0
        self._since: float | None = None
        self.away = False
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
            if not self.away:
                self.away = True
                self.notice(f"table {self._table} can't be reached ({detail}): waiting for it")
            self._probes += 1
            pause_s = jittered(self._probes, PROBE_BASE_S, PROBE_CAP_S, self._random)
            self.probe_at = min(now + pause_s, self._since + self._give_up_after_s)

    def _is_away(self, now: float) -> bool:
        lasts_s = self.lasts_s(now)
        few = self._failures >= FAILURES_MIN and lasts_s >= AWAY_S
        return self.away or few or (self._failures >= FAILURES_MANY and lasts_s >= AWAY_SOON_S)

    def lasts_s(self, now: float) -> float:
        """Return for how long nothing but failures has come; 0 where the last answer was good."""
        return 0.0 if self._since is None else now - self._since

    def succeeded(self) -> None:
        """Take in an answer of a target that works."""
        if self._since is None:
            return
        if self.away:
            self.notice(f"table {self._table} is back")
        self._since = None
        self._failures = self._probes = 0
        self.away = False
        self.probe_at = 0.0
