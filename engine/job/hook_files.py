"""A hook's source as it lies beside the job file, for a host that lacks it.

Invariant: nothing is taken along but the hook's Python modules, and those it has imported from beside it; no
job file, no state, no key that lies there, too.
"""

import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from engine.errors import JobError

BYTES_MAX = 4 * 2**20
"""What a worker is sent at most: more is a library, which is installed."""

OURS = {"engine", "connectors", "bench"}


def beside(reference: str, directory: Path) -> dict[str, bytes]:
    """Return the source of a hook that is loaded, by paths relative to where it lies; empty: it is installed.

    Raises: JobError when it can't be read, or is too much.
    """
    outermost = reference.partition(":")[0].partition(".")[0]
    root = next((each for each in (directory.resolve(), Path.cwd()) if _lies_in(each, outermost)), None)
    if root is None:
        return {}
    try:
        found = {str(path.relative_to(root)): path.read_bytes() for path in _modules(root, outermost)}
    except OSError as error:
        raise JobError(f"transform {reference!r}: can't read {error.filename}: {error.strerror}") from error
    if (size := sum(map(len, found.values()))) > BYTES_MAX:
        raise JobError(
            f"transform {reference!r}: with what it imports from {root} it is {size:,} bytes, and"
            f" {BYTES_MAX:,} are sent along at most: install it on all nodes"
        )
    return found


def _lies_in(root: Path, outermost: str) -> bool:
    """Return whether the module that is loaded comes from there."""
    spec = PathFinder.find_spec(outermost, [str(root)])
    loaded = sys.modules.get(outermost)
    file = getattr(loaded, "__file__", None)
    if spec is None:
        return False
    if file is None:  # a namespace
        return spec.origin is None
    return spec.origin is not None and Path(spec.origin).resolve() == Path(file).resolve()


def _modules(root: Path, outermost: str) -> Iterator[Path]:
    """Yield the files of the hook's package, and those of modules that were imported from beside it."""
    yield from (root / outermost).rglob("*.py")
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in OURS and isinstance(file := getattr(module, "__file__", None), str):
            stem = root.joinpath(*name.split("."))
            if Path(file) in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
                yield Path(file)
