"""The standard streams: descriptors that are there, and writing that costs no command its outcome.

Invariant: descriptors 0 to 2 are open from here on, so that no file or socket of ours can become one of them
(libuv aborts a process whose loop gets one of them); and a full disk, a closed terminal or a reader that left
ends in a sentence at most, never in an exception somewhere in the middle of a load.
"""

import errno
import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from engine.exits import Exit

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDIN, STDOUT, STDERR = 0, 1, 2


class _Forgiving(io.FileIO):
    """A descriptor that takes whatever is written, and keeps the first reason why it didn't."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd, "w", closefd=False)
        self.lost: OSError | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        size = memoryview(data).nbytes
        if self.lost is not None and self.lost.errno == errno.EPIPE:
            return size
        try:
            return super().write(data) or 0
        except OSError as error:
            self.lost = self.lost or error
            return size


class Standard:
    """stdout and stderr of one call of the program."""

    def __init__(self) -> None:
        self._out, self._err = _Forgiving(STDOUT), _Forgiving(STDERR)
        self.stdout = _text(self._out, sys.stdout, "strict", line_buffering=self._out.isatty())
        self.stderr = _text(self._err, sys.stderr, "backslashreplace", line_buffering=True)

    def ended(self, code: int | None) -> int:
        """Return the exit code of a command that gave this one, None where its output is all that it does.

        What a load did stands, whoever read of it. A reader that has left is told nothing: it meant to.
        """
        with suppress(ValueError):  # closed by somebody: there is nothing left to write
            self.stdout.flush()
        lost = self._out.lost
        if lost is not None and lost.errno != errno.EPIPE:
            why = os.strerror(lost.errno or errno.EIO)
            from engine.show import lines  # not before signals are taken

            said = f"the output can't be written to stdout ({why.lower()})"
            text = f"backfill: error: {said}"
            lines.tell(said, text=text, level="error", event="error", stream=self.stderr)
        if code is None:
            return Exit.DONE if lost is None else Exit.FAILED
        return code


def _text(raw: io.FileIO, like: object, errors: str, *, line_buffering: bool) -> io.TextIOWrapper:
    encoding = getattr(like, "encoding", None) or "utf-8"
    errors = getattr(like, "errors", None) or errors
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=line_buffering)


@contextmanager
def standard() -> Generator[Standard, None, None]:
    """See that the standard descriptors are there, and put forgiving streams in the place of Python's."""
    _fill()
    before = sys.stdout, sys.stderr
    ours = Standard()
    sys.stdout, sys.stderr = ours.stdout, ours.stderr
    try:
        yield ours
    finally:
        for stream in (ours.stdout, ours.stderr):
            with suppress(ValueError):
                stream.flush()
        sys.stdout, sys.stderr = before


def _fill() -> None:
    """Open the null device in the place of each descriptor that is closed."""
    for fd in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(fd)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            assert opened == fd, "the kernel gives the lowest descriptor that is free"
            os.set_inheritable(fd, True)
