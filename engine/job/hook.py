"""The `transform` hook: a reference such as `mypackage.jobs:enrich` in, the function out.

Invariant: whatever goes wrong while the user's module is imported is a JobError that names the reference.
"""

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from engine.errors import JobError

if TYPE_CHECKING:
    import polars as pl

    Hook: TypeAlias = Callable[[pl.LazyFrame], pl.LazyFrame]

REFERENCE = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<function>[^\W\d]\w*(\.[^\W\d]\w*)*)")
"""A module's dotted name and, behind the colon, the function's name in it."""


def load_hook(reference: str, directory: Path) -> "Hook":
    """Import the function that a job's `transform` names.

    It may be installed, beside the job file or in the current directory, looked for in this order.
    Raises: JobError.
    """
    module_name, function_name = _names(reference)
    _make_importable(module_name, directory)
    try:
        found: object = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise JobError(_import_fault(reference, module_name, error, directory)) from error
    for name in function_name.split("."):
        if not hasattr(found, name):
            raise JobError(
                f"transform {reference!r}: the module {module_name} has no {function_name}; name a function"
            )
        found = getattr(found, name)
    if not callable(found):
        raise JobError(
            f"transform {reference!r}: {function_name} is a {type(found).__name__}, not a function; "
            "name a function that takes a LazyFrame and returns one"
        )
    return found


def source_digest(reference: str, directory: Path) -> str:
    """Return a digest of the source of the hook's module; of what that module imports it knows nothing.

    Raises: JobError when the module can't be found.
    """
    module_name, _ = _names(reference)
    _make_importable(module_name, directory)
    try:
        spec = importlib.util.find_spec(module_name)
    except (Exception, SystemExit) as error:
        raise JobError(_import_fault(reference, module_name, error, directory)) from error
    if spec is None:
        missing = ModuleNotFoundError(name=module_name)
        raise JobError(_import_fault(reference, module_name, missing, directory))
    try:
        source = Path(spec.origin or "").read_bytes() if spec.has_location else module_name.encode()
    except OSError as error:
        raise JobError(f"transform {reference!r}: can't read {spec.origin}: {error.strerror}") from error
    return hashlib.sha256(source).hexdigest()


def _names(reference: str) -> tuple[str, str]:
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise JobError(f"transform {reference!r}: it must be module:function, such as mypackage.jobs:enrich")
    return match["module"], match["function"]


def _make_importable(module_name: str, directory: Path) -> None:
    """Put the directory that holds a hook on the path, behind all else: no file there hides a library.

    No other: a library that looks for an optional one would find whatever has its name there. It stays, since
    the hook may import more when it is called.
    """
    outermost = module_name.partition(".")[0]
    for path in (str(directory.resolve()), str(Path.cwd())):
        if _importable(outermost):
            return
        if path not in sys.path and PathFinder.find_spec(outermost, [path]) is not None:
            sys.path.append(path)
            importlib.invalidate_caches()


def _importable(outermost: str) -> bool:
    """Return whether a module is found as it is; a namespace, which any directory may add to, isn't yet."""
    try:
        spec = importlib.util.find_spec(outermost)
    except ValueError:  # a module that says not where it is from, such as __main__
        return True
    return spec is not None and spec.origin is not None


def _import_fault(reference: str, module_name: str, error: BaseException, directory: Path) -> str:
    parents = {module_name, *(module_name[: dot.start()] for dot in re.finditer(r"\.", module_name))}
    if isinstance(error, ModuleNotFoundError) and error.name in parents:
        return (
            f"transform {reference!r}: there is no module {error.name}, neither installed nor in "
            f"{directory.resolve()} nor in the current directory"
        )
    text = str(error).partition("\n")[0]
    return f"transform {reference!r}: importing {module_name} failed with {type(error).__name__}: {text}"
