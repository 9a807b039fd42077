"""The rate that a target takes, learned from what it rejects. Pure.

When the target rejects, the rate falls to just below what was accepted, at most once per round trip; then it
comes back along a cubic curve that is flat around that rate, and past it grows until the target rejects
again. What it goes on rejecting at a rate that it took is chance: the rate is restored, and the share is
expected.

Invariant: only rejections of what was sent since the last decision count: the others speak of a rate that is
gone.
"""

from typing import Literal

from engine.throttle.belief import Belief
from engine.throttle.chance import PROOF, PROOF_ANSWERS, REFUSED_MIN, Trial, Verdict
from engine.throttle.curve import BACK_OFF, Before, growth
from engine.throttle.decisions import RateChanged, Tell, TrialBegun, TrialEnded
from engine.throttle.samples import SAMPLE_S, Sample, Samples

MET_FROM, MET_TO = 0.85, 1.5
"""A limit is met again where that happens at such a share of the rate at which it was met before."""

UNSURE = 0.2
"""The same for a rate that was met once, as a share of that time; it doubles each time it is met again."""

HASTE = 4.0
DEEP, DEEP_FOR_S = 0.5, 30.0
"""So many times faster goes the way back from less than this share of what the target took lately. What it
took counts half after so long."""

TRIAL_S, TRIAL_CLEAN_S, TRIAL_MAX_S = 1.0, 3.0, 10.0
"""How long the rate stays where a decrease left it, to see whether anything is rejected there."""

DECIDE_S = 0.2
DECIDE_ANSWERS = 4
"""How much must have been seen since a decrease before the next one."""

COLLAPSE_ANSWERS = 16
COLLAPSE_SHARE = 0.5
"""When so many answers leave less than this share accepted, the rate falls to it at once."""

FEW_SHARE = 0.75
"""Two rejections prove little, so the step after them is no larger."""

PARDON_S = 1.0
"""Decreases within this time may be taken back together, for twice as long."""

RATE_MIN = 1.0


class LearnedRate:
    """A rate in write units per second, infinite until something was rejected. Units: seconds."""

    def __init__(self, now: float, start: float, plateau_s: float, tell: Tell) -> None:
        self._tell = tell
        self.rate = self._ceiling = start
        self._age = self._plateau_s = self._plateau_max_s = plateau_s
        self._belief = Belief(now)
        self._height = 0.0
        """What the target took lately."""
        self._trial: Trial | None = None
        self._open: Trial | None = None
        """The last trial, if it was too short to judge what was rejected."""
        self._trial_since = now
        self._enough = 0.0
        """After so many answers without a rejection a trial has shown that it was the rate."""
        self._before = Before(-float("inf"), start)
        self.epoch = 0
        """Counts decisions."""
        self._samples = Samples()

    def observe(self, consumed: float, rejected: float, now: float) -> bool:
        """Learn from an answer to what was sent in this epoch; True when the rate falls because of it."""
        samples = self._samples
        if samples.since is None:
            samples.begin(now)
        elif now - samples.since > SAMPLE_S and self._trial is None:
            self._turn(now)
        samples.accepted += consumed
        samples.answers += 1
        if rejected <= 0.0:
            return False
        samples.rejected += rejected
        samples.refused += 1
        return self._decide(now)

    def pardon(self, now: float) -> None:
        """Take back what rejections did lately: they turned out to say nothing of the rate."""
        at, rate = self._before
        if now - at <= 2 * PARDON_S and rate > self.rate:
            self._ceiling = rate
            self._age = self._plateau_s = self._plateau_max_s
            self._change("pardon", rate)
        else:
            self._go_on()

    def grow(self, passed: float, now: float) -> None:
        """Come back, and on; but stay for a trial. To be called only while the rate is what holds back."""
        unsure = self._plateau_s <= UNSURE * self._plateau_max_s
        deep = unsure and self.rate < DEEP * self._height
        if self._trial is not None:
            trial_s = now - self._trial_since
            samples = self._samples
            if samples.refused:
                goes_on = trial_s < TRIAL_MAX_S and self._in_doubt()
            else:
                goes_on = trial_s < TRIAL_CLEAN_S and samples.answers < self._enough
            if trial_s < (TRIAL_S / HASTE if deep else TRIAL_S) or goes_on:
                return
            if not samples.refused:
                self._belief.clean(samples.answers)
            self._tell(TrialEnded(Verdict.OPEN if samples.refused else Verdict.CLEAN, self.rate, 0.0))
            self._open = self._trial if samples.refused else None
            self._trial = None
        self._age += passed * HASTE if deep else passed
        self.rate = self._ceiling * growth(self._age, self._plateau_s)

    def _decide(self, now: float) -> bool:
        """Find out what the rejections since the last decision mean, and act on it; True for a decrease."""
        belief = self._belief
        belief.expire(now)
        seen = self._samples.seen()
        collapsed = seen.answers >= COLLAPSE_ANSWERS and seen.rejected > seen.accepted
        if not collapsed:
            if now - seen.since < DECIDE_S or seen.answers < DECIDE_ANSWERS:
                return False
            if seen.refused < REFUSED_MIN or belief.explains(seen):
                return False
        lost, base, trial = seen.lost, self._base(seen, now), self._trial
        first = trial is None
        if trial is None:
            belief.doubt(base, lost, now)
            self._meet(sure=self._open is None and not collapsed)
            if self._open is not None:
                trial = self._open._replace(rate=max(base, self._open.rate))
            else:
                trial = belief.first_trial(base)
        else:
            verdict, trial = trial.judge(lost, seen.answers, seen.refused, belief.trials)
            if verdict is Verdict.OPEN:
                return False
            self._tell(TrialEnded(verdict, self.rate, lost))
            if verdict is Verdict.CHANCE:
                self._believe(trial, lost, now)
                return False
        share = 1.0 - belief.excess(lost)
        least = FEW_SHARE if seen.refused < PROOF else COLLAPSE_SHARE
        self._enough = max(PROOF_ANSWERS, PROOF * seen.answers / seen.refused)
        self._decrease(base * max(share, least), now, "collapse" if collapsed else "rejections")
        if collapsed:
            # That much isn't chance: whatever was the rate before, it was too high.
            trial, first = Trial(base * max(share, least), whole=True), True
            self._plateau_s = UNSURE * self._plateau_max_s
        self._trial, self._trial_since = trial._replace(whole=share >= least and not first), now
        self._tell(TrialBegun(self.rate, lost))
        return True

    def _meet(self, *, sure: bool) -> None:
        """Be the surer of a limit the more often it is met at about the same rate."""
        again = sure and self._ceiling * MET_FROM <= self.rate <= self._ceiling * MET_TO
        unsure_s = UNSURE * self._plateau_max_s
        self._plateau_s = min(2 * self._plateau_s, self._plateau_max_s) if again else unsure_s
        if self._plateau_s > 2 * unsure_s:
            self._height = 0.0

    def _base(self, seen: Sample, now: float) -> float:
        """Return the rate that the target was offered.

        What was seen falls short of the rate a little by measuring, and much where we are the slow part.
        """
        offered = (seen.accepted + seen.rejected) / max(now - seen.since, 1e-3)
        return self.rate if offered > self.rate / 2 else offered

    def _decrease(self, taken: float, now: float, why: Literal["rejections", "collapse"]) -> None:
        """Go on just below the rate that the target was seen to take."""
        if now - self._before.at > PARDON_S:
            self._before = Before(now, self.rate)
        self._ceiling = max(taken, RATE_MIN)
        self._age = 0.0
        self._change(why, self._ceiling * BACK_OFF)

    def _believe(self, trial: Trial, lost: float, now: float) -> None:
        """Expect what is rejected by chance, go back to the rate that was left because of it, and on."""
        self._belief.adopt(trial, self.rate, lost, now)
        self._ceiling = max(trial.rate, self.rate)
        self._plateau_s = UNSURE * self._plateau_max_s
        self._age = 2 * self._plateau_s
        self._change("chance", self._ceiling)

    def _go_on(self) -> None:
        """Begin anew: what was sent before teaches nothing any more."""
        self._trial = self._open = None
        self.epoch += 1
        self._samples.since = None

    def _turn(self, now: float) -> None:
        """Begin the next second, and learn from this one."""
        since = self._samples.since or now
        second = self._samples.turn(now)
        if second is not None:
            passed = now - since
            self._height = max(second.accepted / passed, self._height * 0.5 ** (passed / DEEP_FOR_S))
            self._belief.follow(second, now)

    def _in_doubt(self) -> bool:
        """Say whether more was rejected in this trial than chance takes, and too little to judge it."""
        seen = self._samples.seen()
        return seen.refused > 0 and not self._belief.explains(seen)

    def _change(self, why: Literal["rejections", "collapse", "chance", "pardon"], rate: float) -> None:
        """Go on with another rate: what was sent before teaches nothing any more."""
        self._tell(RateChanged(why, self.rate, rate))
        self.rate = rate
        self._go_on()
