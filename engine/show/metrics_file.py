"""Where a run's metrics are shown: in a file, whose last state outlives the run, over HTTP, or nowhere.

Invariant: whoever reads the file (node_exporter's textfile collector) finds it whole; one that can't be
written costs a sentence, never the run. Whoever has scraped a run is shown how it ended, before its process
leaves.
"""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, write_to_textfile

from engine.errors import JobError
from engine.events import BrokenOff, Event, Observer, RunEnded, RunStarted, Tick
from engine.report import INTERRUPTED
from engine.show.console import say
from engine.show.metrics import Metrics, serve

WRITE_EVERY_S = 10.0
"""Within a usual scrape interval, so that what is scraped is never older than two."""


class MetricsFile:
    """An observer that writes the metrics now and then, and at the end of each run. Told after `metrics`."""

    def __init__(self, metrics: Metrics, path: Path, say: Callable[[str], None]) -> None:
        self._path = path
        self._say = say
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(metrics)
        self._written_at_s: float | None = None
        self._failing = False

    def check(self) -> None:
        """See that the file can be written. Raises: JobError."""
        if self._path.suffix != ".prom":
            raise JobError(
                f"--metrics-textfile {self._path}: the collector reads only *.prom; give it that ending"
            )
        probe = self._path.with_name(f".{self._path.name}.new")
        try:
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise JobError(
                f"--metrics-textfile {self._path}: can't be written ({error.strerror}); name another place"
            ) from error

    def on(self, event: Event) -> None:
        """Take note of one event."""
        match event:
            case RunStarted() | RunEnded() | BrokenOff():
                self._write()
            case Tick(at_s):
                if self._written_at_s is None or at_s - self._written_at_s >= WRITE_EVERY_S:
                    self._written_at_s = at_s
                    self._write()

    def _write(self) -> None:
        try:
            write_to_textfile(str(self._path), self._registry)
            self._path.chmod(0o644)  # read by another user; nothing in it is secret
            self._failing = False
        except OSError as error:
            if not self._failing:
                self._say(f"warning: {self._path} can't be written ({error.strerror}); the run goes on")
            self._failing = True


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
    figures = Metrics()
    told: list[Observer] = [figures]
    if textfile is not None:
        file = MetricsFile(figures, textfile, say)
        file.check()
        told.append(file)
    if port is not None:
        server, address = serve(figures, port)
        say(f"metrics on {address}")
        outcome = _Outcome()
        told.append(outcome)
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        stack.callback(_linger, figures, outcome, linger_s)
    return told


def _linger(figures: Metrics, outcome: _Outcome, linger_s: float | None) -> None:
    with suppress(KeyboardInterrupt):  # the run is over: whoever asks to leave may
        jobs = figures.shown.values()
        if jobs and all(job.ended for job in jobs) and not outcome.interrupted:
            figures.linger(linger_s)
