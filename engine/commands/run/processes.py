"""Worker processes: how the runner starts one and what it hands over.

Invariant: a worker inherits the lease, so that the job counts as being run until its last process is gone;
and it ends by itself when the runner does.
"""

import asyncio
import contextlib
import resource
import socket
import sys
import time
from pathlib import Path
from typing import Generic

from engine.environment import module_command
from engine.frozen import dataclass
from engine.run.link import ToRunner, ToWorker
from engine.run.wire import OF_WORKER, Language, Received, Sent, SocketEnd
from engine.run.worker import Usage
from engine.show import lines, logs

STOP_S = 1.0
"""How long a worker that has said all it has to say may take to end by itself."""


@dataclass(frozen=True, slots=True)
class Boot:
    """All that a worker needs, as texts of known form; for private links only, since the job holds secrets.

    Units: `lease_end_s` as in Tenure.
    """

    job: str
    """job.handed.write."""
    ticket: str
    """SourceTicket.as_json."""
    target: str
    """TargetInfo.as_text."""
    cursors: int
    credentials: str
    """What the runner has found of the target's credentials; see TargetConnector.hand_over."""
    lease_end_s: float
    notes: str | None = None
    """NotesOrder as JSON, in a pass over keys; None: items are written."""
    settled: str | None = None
    """Where the settlement is that a run applies, as settled_keys keeps it; None: nothing is contested."""
    run_id: str = ""
    words: str | None = None
    """The directory where what is written is noted, to hold the user to the word that keys are unique."""


OF_PARENT: Language[Boot | ToWorker] = Language(Boot | ToWorker)


@dataclass(slots=True)
class WorkerProcess(Generic[Received, Sent]):
    """A running process and the link to it."""

    process: asyncio.subprocess.Process
    link: SocketEnd[Received, Sent]

    async def end(self) -> None:
        """See that the process is gone. It has said Finished, or it is not worth waiting for.

        One that was only starting holds nothing, and wouldn't hear.
        """
        await self.link.close()
        try:
            async with asyncio.timeout(STOP_S if self.link.heard else 0.0):
                await self.process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):  # it has ended in this moment
                self.process.kill()
            await self.process.wait()


async def spawn(boot: Boot, lease_fd: int | None) -> WorkerProcess[ToRunner, Boot | ToWorker]:
    """Start a worker process and tell it what to do."""
    started = await launched("engine.commands.run.worker_process", lease_fd, says=OF_PARENT, hears=OF_WORKER)
    started.link.send(boot)
    return started


async def launched(
    module: str, lease_fd: int | None, *, says: Language[Sent], hears: Language[Received]
) -> WorkerProcess[Received, Sent]:
    """Start a module's `serve` in a process of its own, at the other end of a link; see child."""
    ours, theirs = socket.socketpair()
    inherited = (theirs.fileno(), *(() if lease_fd is None else (lease_fd,)))
    try:
        process = await asyncio.create_subprocess_exec(
            *module_command(
                "engine.child",
                module,
                str(theirs.fileno()),
                *(("-v",) if logs.verbose() else ()),
                *lines.arguments(),
            ),
            pass_fds=inherited,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )
    finally:
        theirs.close()
    return WorkerProcess(process, await SocketEnd.open(ours, says=says, hears=hears))


def usage() -> Usage:
    """Return what this process has used since it began."""
    return Usage(time.process_time(), peak_rss_bytes())


def peak_rss_bytes() -> int:
    """Return this process's peak resident memory in bytes.

    Linux's VmHWM where there is one: ru_maxrss is handed down from the parent across exec.
    """
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
