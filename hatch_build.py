"""The build's one step of its own: the extension in C, compiled into the source tree if there is a compiler.

Invariant: without a compiler the build goes on and says so; what is installed then works, slower. No file of
an older build stays behind. `python hatch_build.py` compiles it again without installing anything.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
SOURCES = Path("engine/documents/c")
EXTENSION = Path("engine/documents/_walk.abi3.so")
TAG = f"cp311-abi3-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
"""The stable ABI of Python 3.11 (walk.h says so too), on this platform."""
FLAGS = ("-std=c11", "-O2", "-fPIC", "-fno-strict-aliasing", "-fstack-protector-strong", "-Wall", "-Wextra")
_LINKED = {"darwin": ("-bundle", "-undefined", "dynamic_lookup")}


def digest(root: Path = ROOT) -> str:
    """Return what tells one state of the sources from another."""
    files = sorted((root / SOURCES).glob("*.[ch]"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def compiler() -> list[str] | None:
    """Return the compiler's command: $CC, Python's own, or the system's; None when there is none."""
    for found in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc", "gcc", "clang"):
        command = shlex.split(found or "")
        if command and shutil.which(command[0]):
            return command
    return None


def compiled(target: Path, extra: Sequence[str] = (), root: Path = ROOT) -> str | None:
    """Compile the extension to a file. Returns None, or why that can't be done."""
    command = compiler()
    if command is None:
        return "there is no C compiler"
    sources = sorted(str(path) for path in (root / SOURCES).glob("*.c"))
    linked = _LINKED.get(sys.platform, ("-shared",))
    about = (f"-I{sysconfig.get_paths()['include']}", f'-DWALK_SOURCES="{digest(root)}"')
    with tempfile.TemporaryDirectory() as place:
        made = Path(place, target.name)
        parts = [*command, *FLAGS, *about, *extra, *sources, *linked, "-o", str(made)]
        done = subprocess.run(parts, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            return f"{shlex.join(command)} can't compile it:\n{done.stderr.strip()[-2000:]}"
        beside = target.with_suffix(".new")
        shutil.copyfile(made, beside)
        beside.replace(target)  # a process that runs keeps the one that it has loaded
    return None


def in_place(root: Path = ROOT) -> bool:
    """Compile the extension into the source tree; if that can't be done, say so and remove an older one."""
    fault = compiled(root / EXTENSION, root=root)
    if fault is not None:
        (root / EXTENSION).unlink(missing_ok=True)
        sys.stderr.write(f"backfill is installed without its extension in C, and is slower: {fault}\n")
    return fault is None


class ExtensionHook(BuildHookInterface):  # type: ignore[type-arg]
    """Compiles the extension before a wheel is put together, an editable one too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Compile, and say what belongs to the wheel."""
        if self.target_name == "wheel" and in_place(Path(self.root)):
            build_data["pure_python"] = False
            build_data["tag"] = TAG
            build_data["artifacts"].append(str(EXTENSION))


if __name__ == "__main__":
    sys.exit(0 if in_place() else 1)
