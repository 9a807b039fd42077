"""What a run tells its observers, and what of it the report keeps.

Invariant: every notice that was told stands in the report, but for what is true only now.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from engine.events import BrokenOff, Event, Notice, Observer, SegmentsPlanned, Tick


class Voice:
    """Tells the observers of one job, and keeps the notices for the report."""

    def __init__(self, observers: Sequence[Observer], job: str = "") -> None:
        self.observers = observers
        self.notices: list[str] = []
        self._job = job

    def tell(self, event: Event) -> None:
        """Tell everybody; the report keeps what is a notice."""
        if isinstance(event, Notice):
            self.notices.append(event.text)
        self._pass_on(event)

    on = tell

    def say(self, text: str) -> None:
        """Tell what is true only now: the report doesn't keep it."""
        self._pass_on(Notice(text))

    def _pass_on(self, event: Event) -> None:
        if isinstance(event, Notice | BrokenOff | SegmentsPlanned | Tick):
            event = replace(event, job=self._job)
        for observer in self.observers:
            observer.on(event)

    def break_off(self, text: str) -> None:
        """Tell that the process leaves at once."""
        self.tell(BrokenOff(text))

    def note(self, text: str) -> None:
        """Tell what is worth knowing."""
        self.tell(Notice(text))

    def warn(self, text: str) -> None:
        """Tell what may need doing."""
        self.tell(Notice(text, "warning"))


class SaysNotices:
    """An observer that says sentences; those that may need doing it says by `warn`, where that is given."""

    def __init__(self, say: Callable[[str], None], warn: Callable[[str], None] | None = None) -> None:
        self._say = say
        self._warn = warn or say

    def on(self, event: Event) -> None:
        """Take note of one event."""
        if isinstance(event, Notice | BrokenOff):
            warning = isinstance(event, Notice) and event.level == "warning"
            (self._warn if warning else self._say)(event.text)
