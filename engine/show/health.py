"""The paths beside /metrics: whether the process is well, and whether its run has begun and can write.

Invariant: a probe says what the metrics say, and reads nothing else.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from engine.show.job_figures import JobFigures

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Probed(Protocol):
    """What probes ask."""

    @property
    def current(self) -> JobFigures | None:
        """The figures of the job that runs, or ran last."""

    @property
    def shown(self) -> Mapping[str, JobFigures]:
        """What a scrape that begins now gives, or what is newer."""

    def scraped(self, shown: Mapping[str, JobFigures]) -> None:
        """Take note that somebody was given what was shown then."""


def healthy(figures: JobFigures | None, at_s: float) -> tuple[bool, str]:
    """Say whether the process does anything: for a probe that has it killed. Pure."""
    if figures is not None and figures.hung(at_s):
        return False, "the run hangs: it has said nothing for minutes"
    return True, "ok"


def ready(figures: JobFigures | None, at_s: float) -> tuple[bool, str]:
    """Say whether a run has begun and its target answers. Pure."""
    if figures is None:
        return False, "no run has begun yet"
    if not figures.ended and not figures.target_up(at_s):
        return False, "the target doesn't answer"
    return healthy(figures, at_s)


PROBES = {"/healthz": healthy, "/readyz": ready}


def answering(scrapes: Any, figures: Probed, clock: Callable[[], float] = time.monotonic) -> App:
    """Put the probes beside the WSGI application that answers scrapes."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        probe = PROBES.get(environ["PATH_INFO"])
        if probe is None:
            shown = figures.shown
            answer: Iterable[bytes] = scrapes(environ, start_response)
            figures.scraped(shown)
            return answer
        well, words = probe(figures.current, clock())
        status = "200 OK" if well else "503 Service Unavailable"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{words}\n".encode()]

    return app
