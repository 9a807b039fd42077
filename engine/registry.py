"""The tables of connectors: which sources, targets and state stores there are, by their `type`.

A connector is one value, named by where it stands (`module:NAME`); adding it here is all that the rest of the
house needs. `connectors/__init__.py` adds ours.

Invariant: a connector's module is loaded only when a job's model is built, its drivers only when an end is
opened.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from engine.frozen import dataclass
from engine.job.section import Section
from engine.job.sections import (
    SOURCE_KINDS,
    STATE_KINDS,
    TARGET_KINDS,
    Kinds,
    SourceSection,
    StateSection,
    TargetSection,
)

if TYPE_CHECKING:  # what stands behind these takes half a second to load
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from engine.contracts.documents import DocumentCodec
    from engine.contracts.feed import LogUser
    from engine.contracts.planning import Measurer
    from engine.contracts.readback import ItemCodec, TargetReader
    from engine.contracts.source import Source, SourceTicket
    from engine.contracts.starter import SourceStarter, TargetStarter
    from engine.contracts.state import CheckpointStore, RunState
    from engine.contracts.target import Look, Target, TargetAbilities, TargetInfo
    from engine.contracts.transform import RuleShape
    from engine.job.model import Job
    from engine.kinds import RowSchema
    from engine.meter import Meter
    from engine.tenure import Tenure


@dataclass(frozen=True, slots=True)
class SourceLog:
    """What can be asked and done about a job's place in its source's log, without opening the source.

    `standing` says what the source keeps of its log, in a clause, and the bytes that it keeps for this job,
    and those that share its log, None where it keeps none for them alone; it is told how far they have come,
    this job first. `let_go` has it keep none any more for this job and those that share its log, and says
    what was done, a sentence each.
    """

    standing: Callable[[Job, Sequence[LogUser]], Awaitable[tuple[str, int | None]]]
    let_go: Callable[[Job], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class SourceConnector:
    """One kind of source.

    `open` opens it for a job: with `since`, the watermark that a catch-up run reads from (None: everything),
    as the runner does, or with a ticket as a worker does; and with the codec by which the target writes
    documents.
    """

    section: type[SourceSection]
    open: Callable[[Job, str | None, SourceTicket | None, DocumentCodec], Awaitable[Source]]
    starter: SourceStarter | None = None
    """How `init` comes to it; None: no starter job is written for it."""
    log: SourceLog | None = None
    """None: no job goes by its log."""
    open_again: Callable[[Job, str | None, Sequence[str], DocumentCodec], Awaitable[Source]] | None = None
    """Opens it as `open` does for a runner, in the first of some views (SourceAbilities.view) that is still
    there, else in a new one. None: a view can't be opened again."""


class TargetConnector(Protocol):
    """One kind of target."""

    @property
    def section(self) -> type[TargetSection]:
        """The model of its section in the job."""

    @property
    def abilities(self) -> TargetAbilities:
        """What it can do besides being written to."""

    @property
    def starter(self) -> TargetStarter | None:
        """How `init` writes for it; None: no starter job is written for it."""

    def shared(self) -> AbstractAsyncContextManager[TargetConnector]:
        """Return this connector for the jobs of one process, which may use together what each would open.

        Each job still finds out for itself that the target isn't the one that was described to it.
        """

    def documents(self) -> DocumentCodec:
        """Return how it writes documents: engine.documents.plain.PLAIN, or a codec of its own."""

    async def describe(self, job: Job) -> TargetInfo | None:
        """Return what the target says of itself, or None when there is nothing to write to yet."""

    def planned(self, job: Job) -> TargetInfo | None:
        """Return what `target.create` would make; None where the job has none."""

    def check(self, info: TargetInfo, job: Job) -> None:
        """See that the rules' keys fit and that the target takes writes. Raises: JobError."""

    async def create(self, job: Job, say: Callable[[str], None]) -> None:
        """Make what the job describes, and wait until it takes writes. Only with the ability `creates`."""

    async def open(
        self,
        job: Job,
        info: TargetInfo,
        schema: RowSchema,
        rules: Sequence[RuleShape],
        meter: Meter,
        notice: Callable[[str], None],
        tenure: Tenure,
    ) -> Target:
        """Open it for writing. Nothing is sent before the first batch, nor behind `tenure`'s end.

        `notice` is told when the target goes away and when it is back.
        Raises: JobError.
        """

    def workers_max(self, job: Job, info: TargetInfo) -> int | None:
        """Return how many processes fill what the target is set to take; None: no setting bounds it."""

    def measurer(
        self, job: Job, info: TargetInfo, *, exists: bool, sample: int, prices: Path | None
    ) -> Measurer | None:
        """Return what says in a plan what a load means for the target; None: only that it is written.

        `exists` False: `info` is what `planned` returned. `sample`: about how many rows are added up first.
        `prices` is a price list in place of the target's.
        Raises: JobError when that can't be used.
        """

    def unit_usd(self, info: TargetInfo) -> float:
        """Return what a consumed write unit costs, in US dollars; 0 where units cost nothing."""

    def watch(self, job: Job, info: TargetInfo) -> AbstractAsyncContextManager[Look]:
        """Return what looks, whenever asked, whether the target is still the one that was described."""

    def codec(self, info: TargetInfo) -> ItemCodec:
        """Return what tells of its items what a comparison has to know. Only with `reads_back`."""

    async def open_reader(
        self, job: Job, info: TargetInfo, units_per_s: float | None, notice: Callable[[str], None]
    ) -> TargetReader:
        """Open it for reading, at so many read units a second at most. Only with `reads_back`.

        `notice` is told when the target goes away and when it is back.
        Raises: JobError.
        """

    def info_from(self, text: str) -> TargetInfo:
        """Return what `TargetInfo.as_text` gave in another process."""

    async def hand_over(self) -> str:
        """Return what this process has found of credentials, for its workers: JSON, secret.

        Raises: PermanentError.
        """

    def take_over(self, text: str) -> None:
        """Use the credentials that the runner has found."""


@dataclass(frozen=True, slots=True)
class StateConnector:
    """One kind of state store.

    `read` gives a job's latest run without taking its lease, None when it never ran,
    `letters_open` how many dead letters are kept that nobody has settled. `alive` says whether a
    runner holds the lease. `where` names the place for people, of the section and the state directory.
    """

    section: type[StateSection]
    open: Callable[[Job, Path], Awaitable[CheckpointStore]]
    read: Callable[[Job, Path], Awaitable[RunState | None]]
    letters_open: Callable[[Job, Path], Awaitable[int]]
    alive: Callable[[Job, Path], Awaitable[bool]]
    where: Callable[[Job, Path], str]


class _Connector(Protocol):
    @property
    def section(self) -> type[Section]: ...


C = TypeVar("C", bound=_Connector)


class Connectors(Generic[C]):
    """The connectors of one role."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._found: dict[str, C | str] = {}

    def add(self, name: str, connector: C | str) -> None:
        """Add a kind under its `type`: the connector itself, or where it stands, `module:NAME`."""
        self._found[name] = connector
        self._kinds.add(name, lambda: self[name].section)

    def remove(self, name: str) -> None:
        """Take a kind away again."""
        del self._found[name]
        self._kinds.remove(name)

    def __getitem__(self, name: str) -> C:
        found = self._found[name]
        if isinstance(found, str):
            module, _, attribute = found.partition(":")
            found = self._found[name] = getattr(import_module(module), attribute)
        return found

    def names(self) -> tuple[str, ...]:
        """Return the kinds there are, in the order in which they were added."""
        return tuple(self._found)


SOURCES: Connectors[SourceConnector] = Connectors(SOURCE_KINDS)
TARGETS: Connectors[TargetConnector] = Connectors(TARGET_KINDS)
STATES: Connectors[StateConnector] = Connectors(STATE_KINDS)
