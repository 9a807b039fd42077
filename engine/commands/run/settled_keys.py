"""What a run has settled of its keys, beside its checkpoint: who was to win when rows were read.

A run that goes on reads another view of its source. A row that lost before and would win now may be one that
was read already, so it is to be known what was settled then.

Invariant: the file is that of one run, and says of each key that was ever contested in it which row was to
make its item; it is replaced only once all that an earlier one owed is written.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from engine.commands.run.contest import Winners
from engine.errors import JobError
from engine.own_files import made, reading, removed, replaced
from engine.run.settlement import Settlement

NAME = "keys.settled"
FORMAT = 1


def save(folder: Path, run_id: str, winners: Winners) -> None:
    """Keep what is settled; an earlier file is replaced."""
    made(folder)
    head = orjson.dumps([FORMAT, pl.__version__, run_id, len(winners)])
    with replaced(folder / NAME) as file:
        file.write(head + b"\n")
        file.write(np.ascontiguousarray(winners.keys).tobytes())
        file.write(np.ascontiguousarray(winners.rows).tobytes())


def load(folder: Path, run_id: str) -> Winners | None:
    """Return what an earlier part of this run has settled; None when nothing ever was.

    Raises: JobError when another version wrote it, whose hashes are others.
    """
    try:
        with reading(folder / NAME) as file:
            text = file.read()
    except FileNotFoundError:
        return None
    head, _, body = text.partition(b"\n")
    made, version, run, count = orjson.loads(head)
    if run != run_id:
        return None
    alike = made == FORMAT and (version == pl.__version__ or not count)  # no hash is alike in every version
    if not alike or len(body) != 16 * count:
        raise JobError(
            f"{folder / NAME} was written by another version of backfill or of Polars; go on with that one,"
            " or start over with --fresh"
        )
    both = np.frombuffer(body, np.uint64)
    return Winners(both[:count], both[count:])


def settlement(folder: Path, run_id: str, row_key: Sequence[str]) -> Settlement:
    """Return what is kept as what leaves losers out."""
    winners = load(folder, run_id)
    assert winners is not None, "who goes by a settlement has seen to it that there is one"
    return Settlement(winners.keys, winners.rows, tuple(row_key))


def forget(folder: Path) -> None:
    """Remove the file."""
    if (folder / NAME).exists():
        removed(folder / NAME)
