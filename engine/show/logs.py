"""Logs on stderr, for whoever looks for a cause; what every user must know is a Notice or an error instead.

Invariant: nothing is logged that `masking` would blank or escape.
"""

import logging
import sys
import time
from copy import copy

from engine.masking import printable
from engine.show import lines

FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(job)s[%(process)d] %(name)s: %(message)s"
"""When (UTC), how grave, of which job and process, from where."""

OWN = ("engine", "connectors", "bench")
"""The packages whose debug messages `-v` shows. Those of botocore hold signed headers and stay off."""


class MaskingFormatter(logging.Formatter):
    """A formatter whose lines, tracebacks included, hold no secret and nothing that a terminal obeys."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text that may be shown; a library's traceback only where `-v` asks for it."""
        if record.exc_info and not verbose():
            record = copy(record)
            error = record.exc_info[1] if record.exc_info else None
            record.exc_info = record.exc_text = None
            record.msg, record.args = f"{record.getMessage()} ({type(error).__name__}: {error})", None
        record.job = lines.JOB.get() or "-"
        return _json(self, record) if lines.style.as_json else printable(super().format(record))


def _json(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    fields = {"logger": record.name, "pid": record.process}
    if record.exc_info:
        fields["traceback"] = formatter.formatException(record.exc_info)
    level = record.levelname.lower()
    return lines.as_json(
        record.getMessage(), level=level, job="", event="log", fields=fields, at=record.created
    )


class StderrHandler(logging.Handler):
    """Writes to whatever stderr is at the moment: a live progress display puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, or put up with a stderr that nobody reads."""
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def of_job(name: str) -> None:
    """Have what this task and those that it starts log from now on carry a job's name."""
    lines.JOB.set(name)


def verbose() -> bool:
    """Say whether debug messages are shown: then those of workers are, too."""
    return logging.getLogger(OWN[0]).isEnabledFor(logging.DEBUG)


def setup(*, verbose: bool) -> None:
    """Send warnings to stderr; with `verbose` the debug messages of this program's own packages too."""
    handler = StderrHandler()
    handler.setFormatter(MaskingFormatter(FORMAT, "%Y-%m-%dT%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in OWN:
        logging.getLogger(package).setLevel(logging.DEBUG if verbose else logging.WARNING)
