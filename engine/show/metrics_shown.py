"""Where a run's metrics are shown: over HTTP, in a file, or nowhere; and how long the last ones stay.

Invariant: whoever has scraped a run is shown how it ended, before its process leaves.
"""

from contextlib import ExitStack, suppress
from pathlib import Path

from engine.errors import JobError
from engine.events import Event, Observer, RunEnded
from engine.report import INTERRUPTED
from engine.show import metrics
from engine.show.console import say
from engine.show.metrics_file import MetricsFile


class _Outcome:
    """Whether the last run was interrupted: who is to leave within seconds doesn't stay to be scraped."""

    def __init__(self) -> None:
        self.interrupted = False

    def on(self, event: Event) -> None:
        """Take note of one event."""
        if isinstance(event, RunEnded):
            self.interrupted = event.report.outcome == INTERRUPTED


def metrics_shown(
    stack: ExitStack, port: str | None, linger_s: float | None, textfile: Path | None
) -> list[Observer]:
    """Show metrics as the command line says until the stack ends; return who has to be told of the run.

    Raises: JobError.
    """
    if linger_s is not None and port is None:
        raise JobError("--metrics-linger needs --metrics-port: only what is scraped can stay for it")
    if port is None and textfile is None:
        return []
    figures = metrics.Metrics()
    told: list[Observer] = [figures]
    if textfile is not None:
        file = MetricsFile(figures, textfile, say)
        file.check()
        told.append(file)
    if port is not None:
        server, address = metrics.serve(figures, port)
        say(f"metrics on {address}")
        outcome = _Outcome()
        told.append(outcome)
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        stack.callback(_linger, figures, outcome, linger_s)
    return told


def _linger(figures: metrics.Metrics, outcome: _Outcome, linger_s: float | None) -> None:
    with suppress(KeyboardInterrupt):  # the run is over: whoever asks to leave may
        jobs = figures.shown.values()
        if jobs and all(job.ended for job in jobs) and not outcome.interrupted:
            figures.linger(linger_s)
