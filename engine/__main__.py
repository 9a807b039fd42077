"""`python -m engine` is `backfill`.

Invariant: from here on no file of the working directory hides a library, unless this program lies there.
"""

import os
import sys


def main() -> None:
    """Take the working directory, which `-m` has put first, off the path, and run the command."""
    here = os.getcwd()  # noqa: PTH109 - as light as it can be, before anything is imported from there
    if sys.path[:1] == [here] and not __file__.startswith(here + os.sep):
        del sys.path[0]
    from engine.cli import main as command

    command()


if __name__ == "__main__":
    main()
