"""What was answered lately: the second that is going on, and the one before it. Pure."""

from typing import NamedTuple

SAMPLE_S = 1.0
"""How far back the rate that the target takes is measured: this long up to twice as long."""


class Sample(NamedTuple):
    """What was answered in a time: units, answers, and those that rejected something."""

    accepted: float
    rejected: float
    answers: int
    refused: int
    since: float

    @property
    def lost(self) -> float:
        """The share of units that was rejected."""
        return self.rejected / (self.accepted + self.rejected) if self.rejected else 0.0


class Samples:
    """Counts answers by seconds. `since` None: nothing that counts has been answered yet."""

    def __init__(self) -> None:
        self.since: float | None = None
        self._earlier = Sample(0.0, 0.0, 0, 0, 0.0)
        self._empty()

    def _empty(self) -> None:
        self.accepted = self.rejected = 0.0
        self.answers = self.refused = 0

    def begin(self, now: float) -> None:
        """Begin a sample, with the first answer: the round trip isn't a time in which nothing was taken."""
        self._empty()
        self.since = now
        self._earlier = Sample(0.0, 0.0, 0, 0, now)

    def turn(self, now: float) -> Sample | None:
        """Begin the next second, and remember this one and return it; None where it was long ago."""
        since = self.since or now
        if now - since > 2 * SAMPLE_S:
            self.begin(now)
            return None
        self._earlier = Sample(self.accepted, self.rejected, self.answers, self.refused, since)
        self._empty()
        self.since = now
        return self._earlier

    def seen(self) -> Sample:
        """Return what has been answered since the sample began, and in the one before."""
        accepted, rejected, answers, refused, since = self._earlier
        return Sample(
            accepted + self.accepted,
            rejected + self.rejected,
            answers + self.answers,
            refused + self.refused,
            since,
        )
