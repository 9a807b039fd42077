"""Whether rejections come of the rate, or by chance. Pure.

A target that is short of capacity rejects what is over it: once the rate is what it was seen to take, it
rejects nothing. Where it goes on rejecting, it isn't the rate. So each decrease is a trial.

Invariant: what is judged is counted in answers, since the items of one answer share its fate.
"""

from enum import Enum
from math import sqrt
from typing import NamedTuple

REFUSED_MIN = 2
"""One answer with a rejection proves nothing."""

SIGMAS = 2.5
"""By how much more than what chance takes must be rejected, in standard deviations."""

PROOF, PROOF_ANSWERS = 3, 12
"""So many answers with rejections in a trial, and so many answers, are needed to judge it."""

TRIALS, TRIALS_MAX = 2, 8
"""So many trials in a row in which rejections went on show that they don't come of the rate; twice as many,
up to the latter, each time that turns out wrong: others may share the capacity and take what we leave."""

NOISE_MAX = 0.5
"""Who rejects more than this isn't to be pressed, whatever the reason."""


class Verdict(Enum):
    """What a trial has shown."""

    OPEN = "too little was rejected to say"
    LIMIT = "the capacity isn't found yet, or moves"
    CHANCE = "it rejects that share whatever the rate"
    CLEAN = "nothing was rejected at the lower rate: it was the rate"


class Trial(NamedTuple):
    """A decrease, and the ones before it in which rejections went on.

    Units: `rate` write units per second before the first of them; `answers` and `lost` of them, in answers.
    `whole`: the decrease went down to what was accepted, so that a limit there would reject nothing now.
    """

    rate: float
    whole: bool
    failed: int = 0
    answers: int = 0
    lost: float = 0.0

    def judge(self, lost: float, answers: int, refused: int, trials: int = TRIALS) -> "tuple[Verdict, Trial]":
        """Say what it means that since the decrease this share was rejected, and what the next trial knows.

        `trials`: so many must have failed before it is called chance.
        """
        if refused < PROOF or (answers < PROOF_ANSWERS and refused < PROOF_ANSWERS / 2):
            return Verdict.OPEN, self
        if not self.whole:
            return Verdict.LIMIT, self
        seen = Trial(self.rate, True, self.failed + 1, self.answers + answers, self.lost + lost * answers)
        proved = seen.failed >= trials and seen.lost <= NOISE_MAX * seen.answers
        return Verdict.CHANCE if proved else Verdict.LIMIT, seen

    @property
    def noise(self) -> float:
        """The share that was rejected in all trials together, a standard deviation to the safe side."""
        lost = self.lost / self.answers
        return lost + sqrt(lost * (1.0 - lost) / self.answers)


def doubted(rate: float, noise: float) -> Trial:
    """Return the trial of a share that was believed to be chance for a time: one more is enough."""
    return Trial(rate, True, TRIALS - 1, PROOF_ANSWERS, noise * PROOF_ANSWERS)


def is_chance(lost: float, answers: int, noise: float) -> bool:
    """Say whether a share that was lost in so many answers is no more than what chance takes."""
    return lost <= noise + SIGMAS * sqrt(noise * (1.0 - noise) / answers)


def noise_at_most(lost: float, answers: int) -> float:
    """Return what share chance takes at most where this one was lost, for whatever reason."""
    return lost + (SIGMAS * sqrt(lost * answers + 1.0) + 1.0) / answers
