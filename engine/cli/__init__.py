"""The command line: argv in, exit code out.

Invariant: importing this package or its modules loads nothing heavy (no polars, pyarrow, pydantic, botocore,
rich), so that `--help` answers at once; each command imports what it needs. stdout carries results only.
"""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that argv names and leave with its exit code."""
    from engine.cli.options import Invocation
    from engine.cli.program import answer
    from engine.show import logs

    invocation = Invocation()
    logs.setup(verbose=False)
    sys.exit(answer(arguments, invocation))
