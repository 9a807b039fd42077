"""The share that is believed to be rejected by chance, whatever the rate: for a time, till refuted. Pure."""

from typing import NamedTuple

from engine.throttle.chance import (
    PROOF,
    TRIALS,
    TRIALS_MAX,
    Trial,
    doubted,
    is_chance,
    noise_at_most,
)
from engine.throttle.samples import Sample

HOLD_S, HOLD_MAX_S = 10.0, 160.0
"""How long it is believed that a share is rejected by chance; twice as long whenever it proves true again."""

REFUTED_S = 3.0
"""It wasn't chance if so soon after the rate is restored more is rejected, and hardly more is accepted."""

GAIN = 0.8
"""What is accepted must grow by this share of what the rate does."""


class Low(NamedTuple):
    """The rate at which rejections were called chance, and what of it was accepted."""

    rate: float
    accepted: float

    def still(self, rate: float, lost: float) -> bool:
        """Say whether at another rate, of which a share is lost, hardly more is accepted."""
        return rate * (1.0 - lost) < self.accepted * (1.0 + GAIN * (rate / self.rate - 1.0))


class Belief:
    """What is believed of chance. Units: shares, seconds, write units per second."""

    def __init__(self, now: float) -> None:
        self.noise = 0.0
        """The share that is believed now."""
        self.trials = TRIALS
        """So many trials must have failed before anything is believed."""
        self._last = 0.0
        """What was believed last; one more trial in which it shows is enough."""
        self._at, self._until, self._hold_s = now, 0.0, HOLD_S
        self._low = Low(1.0, 1.0)

    def adopt(self, trial: Trial, rate: float, lost: float, now: float) -> None:
        """Believe what the trials have shown; at `rate`, that of the last one, `lost` was rejected."""
        self.noise = self._last = trial.noise
        self._at, self._until = now, now + self._hold_s
        self._hold_s = min(2 * self._hold_s, HOLD_MAX_S)
        self._low = Low(rate, rate * (1.0 - lost))

    def explains(self, seen: Sample) -> bool:
        """Say whether what was rejected is no more than what chance takes."""
        return is_chance(seen.lost, seen.answers, self.noise)

    def excess(self, lost: float) -> float:
        """Return what share of what chance leaves was lost beyond it."""
        return max(0.0, lost - self.noise) / (1.0 - self.noise)

    def expire(self, now: float) -> None:
        """Believe nothing any more once it has been long."""
        if now >= self._until:
            self.noise = 0.0

    def doubt(self, rate: float, lost: float, now: float) -> None:
        """Give up what the restored rate refutes, and want more trials the next time."""
        if self.noise and now - self._at < REFUTED_S and self._low.still(rate, lost):
            self.noise = self._last = 0.0
            self.trials = min(2 * self.trials, TRIALS_MAX)

    def first_trial(self, rate: float) -> Trial:
        """Return the first trial of a rate."""
        return doubted(rate, self._last) if self._last else Trial(rate, whole=True)

    def follow(self, second: Sample, now: float) -> None:
        """Believe no larger share than a second has shown."""
        if self.noise:
            if now - self._at > REFUTED_S:
                self.trials = TRIALS
            self.noise = min(self.noise, noise_at_most(second.lost, second.answers))

    def clean(self, answers: int) -> None:
        """Forget what was believed last if so many answers without a rejection speak against it."""
        if answers * self._last >= PROOF:
            self._last = 0.0
