"""What runs of one process share: how they are stopped, targets and caps, logs, what the process has used.

Invariant: the shares of a cap never add up to more than the greatest cap of those who share it; what the
process has used is counted once, however many runs go on in it.
"""

import asyncio
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import field

from engine.frozen import dataclass
from engine.job.model import Job
from engine.job.sections import TargetSection
from engine.registry import TARGETS, TargetConnector
from engine.run.one_log import LogUses
from engine.run.stopping import Stops, stop_on_signals
from engine.run.worker import Usage


@dataclass(eq=False, slots=True)
class _Holder:
    """A run that writes under a cap. `limit` tells it its share."""

    target: TargetSection
    cap: float
    limit: Callable[[float], None]


class Caps:
    """Shares the hard caps of runs that write to one place at one time. Units: the target's, per second."""

    def __init__(self) -> None:
        self._holders: list[_Holder] = []

    @contextmanager
    def held(
        self, target: TargetSection, limit: Callable[[float], None], late_s: Callable[[], float]
    ) -> Generator[None, None, None]:
        """Have a run write within its share, which `limit` is told of now and whenever it changes.

        `late_s` is asked when the run is over: for so long what it has sent may still be applied, and its
        share stays its own.
        """
        if target.rate_max is None:
            yield
            return
        holder = _Holder(target, target.rate_max, limit)
        self._holders.append(holder)
        self._share()
        try:
            yield
        finally:
            holder.limit = _told_nothing
            if late := late_s():
                asyncio.get_running_loop().call_later(late, self._leave, holder)
            else:
                self._leave(holder)

    def _leave(self, holder: _Holder) -> None:
        self._holders.remove(holder)
        self._share()

    def _share(self) -> None:
        for holder in self._holders:
            beside = sum(holder.target.may_be(other.target) for other in self._holders)
            holder.limit(holder.cap / beside)


def _told_nothing(_: float) -> None:
    """Take the place of what a run that is over would be told."""


class OwnUsage:
    """Splits what this process uses among the runs that go on in it."""

    def __init__(self, used: Callable[[], Usage]) -> None:
        self._used = used
        self._seen_s = used().cpu_s
        self._cpu_s: dict[object, float] = {}

    @contextmanager
    def counted(self) -> Generator[Callable[[], Usage], None, None]:
        """Yield what a run, as long as it goes on, has used of this process: an even part of the CPU."""
        run = object()
        self._split()
        self._cpu_s[run] = 0.0

        def usage() -> Usage:
            self._split()
            return Usage(self._cpu_s[run], self._used().peak_rss_bytes)

        try:
            yield usage
        finally:
            self._split()
            del self._cpu_s[run]

    def _split(self) -> None:
        now_s = self._used().cpu_s
        for run in self._cpu_s:
            self._cpu_s[run] += (now_s - self._seen_s) / len(self._cpu_s)
        self._seen_s = now_s


@dataclass(frozen=True, slots=True)
class Shared:
    """What a run has in common with others of its process."""

    usage: OwnUsage
    logs: LogUses
    caps: Caps = field(default_factory=Caps)
    stops: Stops = stop_on_signals
    targets: Mapping[str, TargetConnector] = field(default_factory=dict)
    """Connectors by their `type`, as TargetConnector.shared gives them."""

    def target(self, job: Job) -> TargetConnector:
        """Return the connector of a job's target."""
        kind = job.target.type
        return self.targets[kind] if kind in self.targets else TARGETS[kind]
