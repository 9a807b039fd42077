"""The metrics in a file, for node_exporter's textfile collector: the last state outlives the run.

Invariant: whoever reads finds the file whole; one that can't be written costs a sentence, never the run.
"""

from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, write_to_textfile

from engine.errors import JobError
from engine.events import BrokenOff, Event, RunEnded, RunStarted, Tick
from engine.show.metrics import Metrics

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
