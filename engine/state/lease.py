"""One runner per job and state directory, and one verification: an advisory lock that dies with its holder.

Invariant: as long as a process holds the lease, or a worker that inherited its descriptor lives, no other
gets it; the kernel gives it back on any death, kill -9 included. The file's text only informs.
"""

import fcntl
import logging
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

import orjson

from engine import own_files
from engine.clock import utc_now
from engine.errors import JobError, PermanentError

log = logging.getLogger(__name__)

LOCK_NAME = "lock"
VERIFYING = "verify.lock"
"""What a full verification locks instead: it may go on beside a run, but not beside another one."""

_TRIES = 5
_PAUSE_S = 0.02


class Lease:
    """A held lock on a file in DIR/NAME."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    @property
    def fd(self) -> int:
        """The descriptor to hand down to workers, so that orphans keep the lease until they are gone."""
        assert self._fd is not None, "the lease was given back"
        return self._fd

    def release(self) -> None:
        """Give the lease back, unless a worker still holds it.

        Closing, not unlocking: LOCK_UN would take it from the workers too, flock(2).
        """
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def take(state_dir: Path, job_name: str, name: str = LOCK_NAME) -> Lease:
    """Make DIR/NAME, for its owner only, and take the job's lease there. `name`: LOCK_NAME or VERIFYING.

    Raises: JobError when another process holds it, or the directory isn't ours alone; PermanentError when it
    can't be used.
    """
    directory = state_dir / job_name
    try:
        own_files.made(state_dir, job_name)
        fd = own_files.opened(directory / name, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise PermanentError(
            f"the state directory {directory} can't be used ({error.strerror}): choose another with --state"
        ) from error
    try:
        _lock(fd)
    except BlockingIOError as error:
        holder = os.pread(fd, 4096, 0)
        os.close(fd)
        doing = "verified" if name == VERIFYING else "run"
        raise JobError(f"job {job_name} is already being {doing}{_describe(holder)}") from error
    except OSError as error:
        os.close(fd)
        raise PermanentError(
            f"the state directory {directory} knows no locks ({error.strerror}):"
            " put it on a local file system with --state"
        ) from error
    about = orjson.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started": utc_now()})
    with suppress(OSError):  # a full disk: the text only informs, the lock is what counts
        os.ftruncate(fd, 0)
        os.pwrite(fd, about, 0)
    log.debug("the lease %s is ours", directory / name)
    return Lease(fd)


def _lock(fd: int) -> None:
    """Lock, with patience for a `status` that looks at the lock for an instant. Raises: BlockingIOError."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        else:
            return
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _describe(holder: bytes) -> str:
    """Say who holds a lease, as far as its file tells."""
    try:
        about = orjson.loads(holder)
        pid, host, started = int(about["pid"]), str(about["host"]), str(about["started"])
    except (ValueError, KeyError, TypeError):
        return "; wait for it to end"
    who = f" by pid {pid} on {host} since {started}"
    if host == socket.gethostname() and not _alive(pid):
        return f"{who}: it is gone, but its worker processes still end their requests; try again shortly"
    return f"{who}; wait for it to end or stop it"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
