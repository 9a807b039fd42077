"""What the jobs of a file that go by one log need of it, as far as this process knows.

Invariant: what is told of a job is never more than is durable of it: what it has said in this process, else
what its checkpoint said a moment ago. While another process goes by the log none of these may.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import field
from typing import TypeAlias

from engine.errors import BackfillError
from engine.frozen import dataclass
from engine.job.model import Job

ASK_S = 10.0
"""How long it is believed what the checkpoint of a job said that doesn't run in this process.

Less than a source waits for a log that seems to be in use: another process that begins a job's first full run
meanwhile finds this one at the log, or what was believed of the job is asked again before more is read.
"""

Asking: TypeAlias = Callable[[Job], Awaitable[str | None]]
"""Returns from where on a job needs its log, by its checkpoint; None: it needs none.

Raises: NeedUnsaid, and what reading a checkpoint raises.
"""


class NeedUnsaid(BackfillError):
    """A job is about to begin, and its checkpoint doesn't say yet from where on it needs the log."""


@dataclass(slots=True)
class _SharedLog:
    """One log of several jobs. `asked`: by name, until when that holds and what it is."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    sessions: set[int] = field(default_factory=set)
    needs: dict[str, str] = field(default_factory=dict)
    asked: dict[str, tuple[float, str | BackfillError | None]] = field(default_factory=dict)


class LogUses:
    """The logs that jobs of this process share."""

    def __init__(self, ask: Asking) -> None:
        self._ask = ask
        self._logs: dict[frozenset[str], _SharedLog] = {}

    def of(self, job: Job, warn: Callable[[str], None]) -> "LogUse":
        """Return a job's part in its log. `warn` is told why a log can't be let go."""
        names = frozenset((job.name, *(mate.name for mate in job.log_mates)))
        return LogUse(job, self._logs.setdefault(names, _SharedLog()), self._ask, warn)


@dataclass(slots=True)
class LogUse:
    """One job's part in a log; see contracts.LogSharing."""

    _job: Job
    _log: _SharedLog
    _ask: Asking
    _warn: Callable[[str], None]
    _warned: set[str] = field(default_factory=set)

    @property
    def others(self) -> Sequence[str]:
        """Names of the other jobs that go by it."""
        return [mate.name for mate in self._job.log_mates]

    @property
    def sessions(self) -> set[int]:
        """The sessions by which this process reads it."""
        return self._log.sessions

    @property
    def turn(self) -> asyncio.Lock:
        """Held by whoever uses it."""
        return self._log.turn

    def needs(self, position: str) -> None:
        """Hear from where on this job needs it."""
        self._log.needs[self._job.name] = position

    async def begins(self, position: str) -> None:
        """Hear from where on this job will need it: a load that fails as it begins leaves the run before."""
        if self._job.name not in self._log.needs:
            before = await self._by_checkpoint(self._job)
            self.needs(before if isinstance(before, str) else position)

    async def needed(self) -> Sequence[str] | None:
        """Return from where on others need it; None: nobody knows of one of them."""
        found: list[str] = []
        for mate in self._job.log_mates:
            need = self._log.needs.get(mate.name) or await self._by_checkpoint(mate)
            if isinstance(need, BackfillError):
                self._tell(mate, need)
                return None
            if need is not None:
                found.append(need)
        return found

    async def _by_checkpoint(self, mate: Job) -> str | BackfillError | None:
        now = asyncio.get_running_loop().time()
        until, need = self._log.asked.get(mate.name, (0.0, None))
        if until <= now:
            try:
                need = await self._ask(mate)
            except BackfillError as error:
                need = error
            self._log.asked[mate.name] = now + ASK_S, need
        return need

    def _tell(self, mate: Job, why: BackfillError) -> None:
        if not isinstance(why, NeedUnsaid) and mate.name not in self._warned:
            self._warned.add(mate.name)
            self._warn(f"all of the log is kept: what {mate.name} needs of it can't be told ({why})")
