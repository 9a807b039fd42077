"""What is kept beside a checkpoint, for whoever has the job's lease next: texts, by their names.

Invariant: what isn't there is None, and what is there is whole. It lies beside the checkpoint, not in it, so
that no damage to the one hides the other.
"""

from pathlib import Path

from engine.contracts.state import CheckpointStore
from engine.frozen import dataclass
from engine.own_files import reading, removed, replaced
from engine.plain import dumped, loaded

ELSEWHERE = "workers-elsewhere"
"""For how long workers of other hosts may write behind the runner's end, in seconds."""

VIEW = "view"
"""By what the view of the source may be opened again that a run reads."""

STANDING = "standing"
"""What the source of a run by the log is held to, where that has changed since the run began."""


@dataclass(frozen=True, slots=True)
class KeptView:
    """How whoever goes on with a run may read the view that was read before, if it is still there.

    Shape: `names` as SourceAbilities.view has them, the likeliest first. `differ`: in that view no two rows
    make one key.
    """

    run_id: str
    names: tuple[str, ...]
    differ: bool = False


@dataclass(frozen=True, slots=True)
class _KeptStanding:
    run_id: str
    standing: str


def keep(directory: Path, name: str, text: str | None) -> None:
    """Keep a text in a file of that name; None: none any more. Raises: OSError."""
    if text is None:
        removed(directory / name)
        return
    with replaced(directory / name) as file:
        file.write(text.encode())


def kept(directory: Path, name: str) -> str | None:
    """Return what is kept in it. Raises: OSError."""
    try:
        with reading(directory / name) as file:
            return file.read().decode()
    except FileNotFoundError:
        return None


async def keep_elsewhere(store: CheckpointStore, wait_s: float | None) -> None:
    """Keep for how long workers of other hosts may write behind this process's end; None: none does."""
    await store.keep_beside(ELSEWHERE, None if wait_s is None else f"{wait_s}")


async def elsewhere_s(store: CheckpointStore) -> float | None:
    """Return what is kept of that."""
    text = await store.beside(ELSEWHERE)
    return None if text is None else float(text)


async def keep_view(store: CheckpointStore, view: KeptView) -> None:
    """Keep how a view may be opened again."""
    await store.keep_beside(VIEW, dumped(view))


async def kept_view(store: CheckpointStore, run_id: str) -> KeptView | None:
    """Return what is kept of that for a run; None where nothing is."""
    text = await store.beside(VIEW)
    try:
        view = None if text is None else loaded(KeptView, text)
    except ValueError:  # another version's: the run goes on in a view of its own
        return None
    return view if view is not None and view.run_id == run_id else None


async def keep_standing(store: CheckpointStore, run_id: str, standing: str) -> None:
    """Keep what the source of a run is held to from here on; see contracts.source.Continuity."""
    await store.keep_beside(STANDING, dumped(_KeptStanding(run_id, standing)))


async def kept_standing(store: CheckpointStore, run_id: str) -> str | None:
    """Return what is kept of that for a run; None: it is held to what it began with."""
    text = await store.beside(STANDING)
    try:
        kept = None if text is None else loaded(_KeptStanding, text)
    except ValueError:  # another version's
        return None
    return kept.standing if kept is not None and kept.run_id == run_id else None
