"""The live display of a terminal: what runs, redrawn with every tick; notices stay above it.

Invariant: it never harms the run, and the terminal is given back as it was. rich is imported here only.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, TextIO

from engine.amounts import duration, number
from engine.events import BrokenOff, Event, Notice, RunEnded, RunStarted, Tick
from engine.frozen import dataclass
from engine.masking import printable
from engine.show.overall import Overall
from engine.show.progress import PROGRAM, Showing, cells, rows, title, to_do, which

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live


@dataclass(slots=True)
class _Drawn(Showing):
    """A run that is shown, as it was when it ticked last."""

    tick: Tick | None = None


class LiveProgress:
    """A few lines of one run, or one of each, that are redrawn with ticks; notices stay above them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live: Live | None = None
        self._runs: dict[str, _Drawn] = {}
        self._all = Overall()
        self._last = PROGRAM

    def on(self, event: Event) -> None:
        """Take note of one event."""
        try:
            self._show(event)
        except (OSError, ValueError):
            self._live = None  # the terminal is gone; the run goes on

    def close(self) -> None:
        """Wipe the display."""
        try:
            self._stop()
        except (OSError, ValueError):
            return

    def _show(self, event: Event) -> None:
        self._all.take(event)
        match event:
            case RunStarted(job):
                if not self._runs:
                    self._stop()
                self._runs[job], self._last = _Drawn(event), job
                self._live = self._live or _start_live(self._stream)
                self._print(f"{job}: {title(event)}{which(self._all)}")
            case Notice(text, level, job):
                # A job that runs alone has its name above; one that is only looked at would seem to be it.
                alone = len(self._runs) == 1 and job in self._runs
                name = f"{job}: " if job and not alone else ""
                self._print(f"{name}{text}" if level == "info" else f"{name}{level}: {text}")
            case Tick():
                self._tick(event)
            case BrokenOff(text, job):
                self._stop()
                self._stream.write(printable(f"{job or self._last}: {text}\n"))
                self._stream.flush()
            case RunEnded(report):
                self._runs.pop(report.job, None)
                if not self._runs:
                    self._stop()
            case _:
                pass

    def _tick(self, tick: Tick) -> None:
        run = self._runs.get(tick.job or self._last)
        if run is None:
            return
        run.tick, run.speeds = tick, run.pace.take(tick, run.started.rows_expected)
        if self._live is not None and run is next(iter(self._runs.values())):  # as often as one alone
            together = sum(each.speeds.items_per_s for each in self._runs.values())
            line = "" if self._all.total == 1 else self._all.line(together, tick.at_s)
            self._live.update(_picture(self._runs.values(), line), refresh=True)

    def _print(self, text: str) -> None:
        text = printable(text)
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._stream.write(text + "\n")

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()


def _start_live(stream: TextIO) -> "Live":
    from rich.console import Console
    from rich.live import Live

    class Display(Console):
        def on_broken_pipe(self) -> None:
            """Fall silent; rich's own way would end the process."""
            self.quiet = True

        def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002 - rich's signature
            """Leave the cursor be: hidden, it would stay so in the terminal after a kill."""
            return False

    # No refresh thread: ticks come often enough, and the run's process stays single-threaded here.
    live = Live(console=Display(file=stream), auto_refresh=False, transient=True, redirect_stdout=False)
    live.start()
    return live


def _picture(runs: Collection[_Drawn], of_all: str) -> "RenderableType":
    """Draw a run that is alone in full, and of several a line each; what is said of all jobs comes last."""
    from rich.console import Group
    from rich.text import Text

    drawn = _alone(*runs) if len(runs) == 1 else _abreast(runs)
    return Group(drawn, Text(of_all, no_wrap=True, overflow="ellipsis")) if of_all else drawn


def _abreast(runs: Collection[_Drawn]) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for _ in range(5):
        grid.add_column(no_wrap=True, overflow="ellipsis")
    for run in runs:
        if (tick := run.tick) is not None:
            pace = run.speeds
            letters = f"dead letters {number(tick.counts.items_dead_lettered)}"
            told = (f"{rows(tick, run.started.rows_expected)} rows", f"{number(pace.items_per_s)} items/s")
            grid.add_row(*map(Text, (run.started.job, *told, letters, to_do(tick, pace))))
    return grid


def _alone(run: _Drawn) -> "RenderableType":
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    assert run.tick is not None, "it has ticked"
    tick, pace, started = run.tick, run.speeds, run.started
    head = (
        f"{rows(tick, started.rows_expected)} rows, {number(pace.items_per_s)} items/s, {to_do(tick, pace)}"
    )
    bar: dict[str, Any] = {"completed": tick.counts.rows_read}
    bar |= {"total": started.rows_expected} if started.rows_expected else {"pulse": True, "total": None}
    line = Table.grid(expand=True)  # a bar by itself doesn't end its line
    line.add_row(ProgressBar(**bar))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_column(no_wrap=True, overflow="ellipsis")
    for name, text in cells(tick, pace).items():
        grid.add_row(Text(name), Text(text))
    grid.add_row(Text("in flight"), Text(f"{number(tick.meter.requests_in_flight)} requests"))
    grid.add_row(Text("workers"), Text(number(started.workers)))
    grid.add_row(Text("checkpoint"), Text(f"{tick.checkpoint_age_s:.1f} s old"))
    if tick.watermark_lag_s is not None:
        grid.add_row(Text("watermark lag"), Text(duration(tick.watermark_lag_s)))
    return Group(Text(head, no_wrap=True, overflow="ellipsis"), line, grid)
