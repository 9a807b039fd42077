"""Logs on stderr, for whoever looks for a cause; what every user must know is a Notice or an error instead.

Invariant: nothing is logged that `masking` would blank or escape.
"""

import logging
import sys

from engine.masking import printable

OWN = ("engine", "connectors", "bench")
"""The packages whose debug messages `-v` shows. Those of botocore hold signed headers and stay off."""


class MaskingFormatter(logging.Formatter):
    """A formatter whose lines, tracebacks included, hold no secret and nothing that a terminal obeys."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text that may be shown."""
        return printable(super().format(record))


class StderrHandler(logging.Handler):
    """Writes to whatever stderr is at the moment: a live progress display puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, or put up with a stderr that nobody reads."""
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def verbose() -> bool:
    """Say whether debug messages are shown: then those of workers are, too."""
    return logging.getLogger(OWN[0]).isEnabledFor(logging.DEBUG)


def setup(*, verbose: bool) -> None:
    """Send warnings to stderr; with `verbose` the debug messages of this program's own packages too."""
    handler = StderrHandler()
    handler.setFormatter(MaskingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in OWN:
        logging.getLogger(package).setLevel(logging.DEBUG if verbose else logging.WARNING)
