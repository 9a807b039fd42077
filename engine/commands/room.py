"""What commands put on disk for a while: where that can't be done, it is told in one sentence. Pure.

Invariant: what is wrong with a connection is never called a disk's fault.
"""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import PermanentError

_OF_DISKS = frozenset(
    (
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO),
        *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR),
        None,  # NumPy's and Polars' have none
    )
)
_NOWHERE = "temporary files"


@contextmanager
def on_disk(place: Path | None, advice: str) -> Iterator[None]:
    """Say of a place that it can't be written, and what to do. `place` None: where temporary files go.

    Raises: PermanentError.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        why = getattr(error, "strerror", None) or error
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            raise PermanentError(f"no more files may be opened ({why}): raise `ulimit -n`") from error
        if isinstance(error, OSError) and error.errno not in _OF_DISKS:
            raise
        raise PermanentError(f"{place or _NOWHERE} can't be written ({why}): {advice}") from error
