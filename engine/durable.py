"""Files that take another one's place: whole or not at all, and on disk when the call returns.

Invariant: whoever looks, at any moment and after a power cut, finds the old file or the new one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from engine.own_files import created


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
