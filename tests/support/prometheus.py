"""Prometheus and promtool: the machine's own, else out of Debian's package, which isn't installed for that.

Invariant: nothing is started or changed but in the folder of fetched servers, and what apt does ends in time.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from bench.servers import tools_dir

FETCH_S = 60.0
"""For all that apt does: it took 2 s, and 3 where its lists of packages had to be fetched, too."""
PATIENCE = ("-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=10", "-o", "Acquire::https::Timeout=10")


def program(name: str) -> str:
    """Return the path of `promtool` or `prometheus`; skip where there is none, and none can be had."""
    if (installed := shutil.which(name)) is not None:
        return installed
    found = fetched()
    if isinstance(found, str):
        pytest.skip(f"no {name} is here; Debian has it in the package prometheus ({found})")
    return str(found / name)


@cache
def fetched() -> Path | str:
    """Return the folder of the package's programs, fetched once a machine, or why they can't be had."""
    kept = tools_dir() / "prometheus-debian"
    if kept.is_dir():
        return kept
    apt, unpacks = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if apt is None or unpacks is None:
        return "there is no apt"
    until_s = time.monotonic() + FETCH_S
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
        folder = Path(scratch)
        package = _downloaded(apt, folder, until_s)
        if package is None:
            return "apt-get can't fetch it"
        programs = folder / "unpacked" / "usr" / "bin"
        if not (
            _does((unpacks, "-x", package.name, "unpacked"), folder, until_s)
            and _does((str(programs / "promtool"), "--version"), folder, until_s)
        ):
            return f"{package.name} doesn't run here"
        with contextlib.suppress(OSError):  # another process was first: its copy is as good
            programs.rename(kept)
    return kept


def _downloaded(apt: str, folder: Path, until_s: float) -> Path | None:
    """Have apt download the package, which it holds against the archive's signature; None: it can't."""
    lists, archives = folder / "lists", folder / "cache"
    for place in (lists / "partial", archives / "archives" / "partial"):
        place.mkdir(parents=True)
    own = ("-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={archives}")
    own += ("-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none")
    for where in ((), own):  # by the machine's lists of packages, else by some that are fetched for this
        if where:
            _does((apt, *PATIENCE, *where, "update"), folder, until_s)
        if _does((apt, *PATIENCE, *where, "download", "prometheus"), folder, until_s):
            return next(folder.glob("*.deb"), None)
    return None


def _does(command: Sequence[str], folder: Path, until_s: float) -> bool:
    """Run a command in a folder, say whether it went well; at its time it ends, with all that it started."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(max(0.0, until_s - time.monotonic())) == 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False
