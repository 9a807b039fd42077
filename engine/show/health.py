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
    def shown(self) -> Mapping[str, JobFigures]:
        """What a scrape that begins now gives, or what is newer."""

    def scraped(self, shown: Mapping[str, JobFigures]) -> None:
        """Take note that somebody was given what was shown then."""


def healthy(jobs: Mapping[str, JobFigures], at_s: float) -> tuple[bool, str]:
    """Say whether the process does anything: for a probe that has it killed. Pure."""
    if any(figures.hung(at_s) for figures in jobs.values()):
        return False, "the run hangs: it has said nothing for minutes"
    return True, "ok"


def ready(jobs: Mapping[str, JobFigures], at_s: float) -> tuple[bool, str]:
    """Say whether a run has begun and the target of each that goes on answers. Pure."""
    if not jobs:
        return False, "no run has begun yet"
    if not all(figures.ended or figures.target_up(at_s) for figures in jobs.values()):
        return False, "the target doesn't answer"
    return healthy(jobs, at_s)


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
        well, words = probe(figures.shown, clock())
        status = "200 OK" if well else "503 Service Unavailable"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{words}\n".encode()]

    return app
