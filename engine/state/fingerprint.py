"""What a checkpoint depends on, and whether it still holds.

Invariant: a checkpoint is gone on with only when source, mapping and target are those that it was made for.
Pure; nothing in a fingerprint is secret.
"""

from collections.abc import Mapping

from engine.errors import JobError

_PARTS = ("source", "mapping", "target")
POSITIONS = "source.key"
"""The columns that cursors are values of: under others, a stored cursor is a position somewhere else."""


def fingerprint(
    job: Mapping[str, str], source: Mapping[str, str], target: Mapping[str, str]
) -> dict[str, str]:
    """Join the job's own hashes with what the servers say of themselves.

    Shape: `job` as Job.fingerprint_parts gives it (`source`, `mapping`, `target` …: a hash each); `source`
    Source.identity; `target` the table's `arn` and `created_at`: a table that was dropped and made again
    holds nothing of what a checkpoint says is written. Keys of the result: `source`, `source.database` …
    """
    return {
        **job,
        **{f"source.{name}": value for name, value in source.items()},
        **{f"target.{name}": value for name, value in target.items()},
    }


def compare(stored: Mapping[str, str], now: Mapping[str, str], *, positions: bool = True) -> JobError | None:
    """Return why a checkpoint with one fingerprint can't serve a job with the other; None when it can.

    `positions`: its cursors are to be gone on from, which a catch-up run after a whole one doesn't do.
    """
    differing = {name for name in (*stored, *now) if stored.get(name) != now.get(name)}
    if not positions:
        differing.discard(POSITIONS)
    if not differing:
        return None
    said = [_say(part, differing, stored, now) for part in _PARTS]
    others = sorted(name for name in differing if name.partition(".")[0] not in _PARTS)
    changes = "; ".join([*filter(None, said), *(f"the {name} changed" for name in others)])
    return JobError(
        f"the job isn't the one that its checkpoint was made for: {changes}."
        " Put the old job back to go on, or start over with --fresh"
    )


def _say(part: str, differing: set[str], stored: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """Name what changed in one part: its identity with both values, its section without (it is a hash)."""
    details = sorted(name for name in differing if name.startswith(f"{part}."))
    unknown = "not known"
    said = [
        f"{name.removeprefix(f'{part}.')} was {stored.get(name, unknown)}, is {now.get(name, unknown)}"
        for name in details
    ]
    if not said and part not in differing:
        return None
    return f"the {part} changed" + (f" ({', '.join(said)})" if said else "")
