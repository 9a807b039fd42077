"""Runs alone what failed beside all other tests: `make test-again`, after a `make test` that failed.

Invariant: what fails again has failed, and so has a suite of which more than FEW failed. What passes is told
by name: it hopes for quick threads or a free machine, and is to be mended as any fault is.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LAST_FAILED = Path(".pytest_cache/v/cache/lastfailed")
"""Where pytest notes the tests that failed last. Source: its documentation, "How to re-run failed tests"."""

FEW = 3
"""So many of thousands may fail by chance; more of them have a cause in common."""


def main() -> int:
    """Run what failed last, one test after the other, and return what this process ends with."""
    failed = failed_last(LAST_FAILED)
    if not 0 < len(failed) <= FEW:
        print(f"{len(failed)} tests failed in the last run; 1 to {FEW} are run again")
        return 1
    code = subprocess.run([sys.executable, "-m", "pytest", "--lf", "--lfnf=none"]).returncode
    if code == 0:
        print("\nThese failed beside others and pass alone. Each hopes for something: mend it.")
        print("\n".join(f"  {test}" for test in failed))
    return code


def failed_last(path: Path) -> Sequence[str]:
    """Return the names of the tests that failed in the last run, none where nobody took note."""
    return sorted(json.loads(path.read_text())) if path.exists() else ()


if __name__ == "__main__":
    sys.exit(main())
