"""The file that says that workers of other hosts may write, for whoever has the lease next.

Invariant: it lies beside the checkpoint, not in it, so that no damage to the one hides the other.
"""

from pathlib import Path

from engine.own_files import reading, removed, replaced

NAME = "workers-elsewhere"


def keep(directory: Path, wait_s: float | None) -> None:
    """Keep for how long they may write behind the runner's end; None: none does any more. Raises: OSError."""
    if wait_s is None:
        removed(directory / NAME)
        return
    with replaced(directory / NAME) as file:
        file.write(f"{wait_s}\n".encode())


def kept(directory: Path) -> float | None:
    """Return what is kept of that. Raises: OSError."""
    try:
        with reading(directory / NAME) as file:
            return float(file.read())
    except FileNotFoundError:
        return None
