"""What a result has to say about where it comes from: machine, versions, date, command.

Invariant: nothing in it names a place or a person.
"""

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("polars", "pyarrow", "asyncpg", "uvloop", "httptools", "orjson")
CPU_INFO = Path("/proc/cpuinfo")


def about(command: str) -> dict[str, Any]:
    """Describe this machine and these versions, now."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "commit": _commit(),
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "load_before": round(os.getloadavg()[0], 2),
        },
        "python": platform.python_version(),
        "packages": _versions(),
    }


def _versions() -> Mapping[str, str]:
    return {name: metadata.version(name) for name in PACKAGES}


def _cpu() -> str:
    try:
        lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")


def _commit() -> str:
    """Return the commit that was measured, with a plus where files differ from it."""
    here = Path(__file__).parent
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"
