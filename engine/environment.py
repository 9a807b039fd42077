"""What the process finds and sets around itself before the heavy libraries are loaded.

Invariant: a value that the user has set wins; nothing here imports polars or pyarrow, which read their
variables when they are loaded. What this program starts of itself is what is installed: no file of the
working directory is code unless a job names it.
"""

import atexit
import gc
import os
import sys
from pathlib import Path

LIBRARY_SETTINGS = {
    # A worker per core already: more threads in each only wait for one another.
    "POLARS_MAX_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    # Arenas per thread keep what batches have freed. Workers' C libraries read this when they start.
    "MALLOC_ARENA_MAX": "2",
    # Gives freed batches back sooner: 287 MB at the peak where the default kept 326, at the same CPU.
    "ARROW_DEFAULT_MEMORY_POOL": "jemalloc",
}

COLLECT_AFTER = 100_000
"""New containers between two collections of garbage. Python's 700 cost a start a tenth of its CPU, a load of
600,000 rows 3 %, and parsing the items that verify reads a third. Nothing here leaves cycles that hold much:
without any collection a load has the same peak."""

CGROUP_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
"""Source: https://docs.kernel.org/admin-guide/cgroup-v2.html, "CPU Interface Files"."""


def tune() -> None:
    """Set the libraries' threads and memory for this process and its workers; collect garbage rarely.

    At its end an interpreter looks through all that there is, several times, which takes a fifth of a start's
    CPU. It is spared that: nothing waits to be written by whoever is freed last.
    """
    gc.set_threshold(COLLECT_AFTER, 20, 100)
    atexit.register(gc.freeze)
    for name, value in LIBRARY_SETTINGS.items():
        os.environ.setdefault(name, value)


def module_command(module: str, *arguments: str, python: str = sys.executable) -> list[str]:
    """Return the command line that runs an installed module, as `python -m` does.

    -P: without it the working directory comes before all that is installed, and a `pickle.py` that lies there
    would run with the job's credentials.
    Source: https://docs.python.org/3/using/cmdline.html#cmdoption-P.
    """
    return [python, "-P", "-m", module, *arguments]


def cores(cpu_max: Path = CGROUP_CPU_MAX) -> int:
    """Return the cores that this process may use: its affinity, and a container's quota rounded down."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    try:
        quota, period = cpu_max.read_text().split()
        if quota != "max":
            usable = min(usable, int(quota) // int(period))
    except (OSError, ValueError):
        pass  # no cgroup v2 here, so no quota
    return max(1, usable)
