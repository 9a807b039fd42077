"""Files and directories of this program's own: made for their owner alone, and never somebody else's.

Invariant: what is opened here is a plain file of that very name, not what a link leads to; and a directory is
written in only if nobody else could have put anything there. Whoever looks for a file that is replaced
finds the old one or the new one, whole, at any moment and after a power cut.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from engine.errors import JobError

_PLAIN = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""Not through a link, and without waiting for whoever writes into a pipe of that name."""
_ELSEWHERE = "or choose another directory with --state"


def made(directory: Path, *below: str) -> Path:
    """Make a directory and those below it, for their owner only, and see that they are ours alone.

    The outermost may be a link or root's, and others may make files of their own there if it is sticky, as
    /tmp is. A group may write if it is this process's own, as Kubernetes' fsGroup is.
    Raises: JobError when one is somebody else's, or holds a link; OSError.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _see_to(directory, directory.stat(), outermost=True)
    for name in below:
        directory /= name
        directory.mkdir(mode=0o700, exist_ok=True)
        _see_to(directory, directory.lstat(), outermost=False)
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_symlink():
                    raise _link(directory / entry.name)
    return directory


def opened(path: Path, flags: int) -> int:
    """Open a file of ours; one that is made is its owner's only. Raises: JobError; OSError."""
    try:
        fd = os.open(path, flags | _PLAIN, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _link(path) from error
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _link(path)
    return fd


def reading(path: Path) -> BinaryIO:
    """Open a file of ours to be read. Raises: JobError; OSError."""
    return os.fdopen(opened(path, os.O_RDONLY), "rb")


def created(path: Path) -> BinaryIO:
    """Make a file of ours anew, in the place of what is there, and open it to be written."""
    path.unlink(missing_ok=True)
    return os.fdopen(opened(path, os.O_RDWR | os.O_CREAT | os.O_EXCL), "w+b")


def no_link(path: Path) -> Path:
    """Return the path of a file that a library opens by its name. Raises: JobError when it is a link."""
    if path.is_symlink():
        raise _link(path)
    return path


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """Hand out a new file for its owner alone, which takes the place of `path` once the block has ended."""
    part = path.with_name(f".{path.name}.part")
    try:
        with created(part) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        put(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def put(part: Path, path: Path) -> None:
    """Put a file that is on disk in the place of another one."""
    part.replace(path)
    sync_directory(path.parent)


def removed(path: Path) -> None:
    """Remove a file, if it is there."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make a file's creation, renaming or removal in a directory durable."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _see_to(directory: Path, about: os.stat_result, *, outermost: bool) -> None:
    if stat.S_ISLNK(about.st_mode):
        raise _link(directory)
    if about.st_uid != os.geteuid() and not (outermost and about.st_uid == 0):
        raise JobError(
            f"the state directory {directory} belongs to user {about.st_uid}, who decides what it holds:"
            f" run as that user, change its owner, {_ELSEWHERE}"
        )
    others = about.st_mode & stat.S_IWOTH or (about.st_mode & stat.S_IWGRP and about.st_gid != os.getegid())
    if others and not (outermost and about.st_mode & stat.S_ISVTX):
        raise JobError(
            f"others may write in the state directory {directory} (mode {stat.S_IMODE(about.st_mode):o}):"
            f" chmod go-w it once you have seen that all in it is yours, {_ELSEWHERE}"
        )


def _link(path: Path) -> JobError:
    return JobError(f"{path} is a link, not a file of backfill's own: remove it, {_ELSEWHERE}")
