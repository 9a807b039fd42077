"""The command line: argv in, exit code out.

Invariant: importing this package or its modules loads nothing heavy (no polars, pyarrow, pydantic, botocore,
rich), so that `--help` answers at once; each command imports what it needs. stdout carries results only.
"""

import sys
from collections.abc import Sequence

from engine.cli import signals, streams


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that argv names and leave with its exit code."""
    try:
        signals.take()  # before anything else: even the imports take a tenth of a second
        code = _run(arguments)
    except KeyboardInterrupt:  # before there are streams of our own, or behind them
        code = signals.interrupted()
        signals.hurry(code)
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    with streams.standard() as standard:
        try:
            with signals.held():
                from engine.cli.program import start

            code = standard.ended(start(arguments))
        except KeyboardInterrupt:
            code = signals.interrupted()
        signals.hurry(code)
    return code
