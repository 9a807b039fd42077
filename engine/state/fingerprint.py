"""What a checkpoint depends on, and whether it still holds.

Invariant: a checkpoint is gone on with only when source, mapping and target are those that it was made for.
Pure; nothing in a fingerprint is secret.
"""

import hashlib
import json
import operator
from collections.abc import Callable, Mapping, Sequence

from engine.contracts.transform import RuleShape
from engine.errors import JobError
from engine.kinds import type_name

_PARTS = ("source", "mapping", "target")
POSITIONS = "source.key"
"""The columns that cursors are values of: under others, a stored cursor is a position somewhere else."""

RELATION, QUERY = "source.relation", "query"
"""What is read; and how the name of a query begins, which goes on with its text."""
_DIGEST, _DIGITS = "#", 16
"""No SQL begins with this sign."""

STANDING = "standing"
"""What the source says of itself and compares itself; see contracts.source.Continuity."""

TABLE_ID, TABLE_CREATED = "target.id", "target.created_at"
"""What tells a table from one made anew; where both sides know an id, the time says nothing: some servers
give that of their answer (scylladb/scylladb#5013)."""

ATTRIBUTES = "mapping.attributes"
"""What items are made of: the same mapping gives others once columns of the source are others."""

NAMED_MAX = 5
"""How many differing attributes a message names."""


def fingerprint(
    job: Mapping[str, str], source: Mapping[str, str], target: Mapping[str, str]
) -> dict[str, str]:
    """Join the job's own hashes with what the servers say of themselves.

    Shape: `job` as Job.fingerprint_parts gives it (`source`, `mapping`, `target` …: a hash each); `source`
    Source.identity; `target` the table's `arn`, `created_at`, `id`: a table that was dropped and made again
    holds nothing of what a checkpoint says is written. Keys of the result: `source`, `source.database` …
    """
    return {
        **job,
        **{f"source.{name}": value for name, value in source.items()},
        **{f"target.{name}": value for name, value in target.items()},
    }


def attributes(rules: Sequence[RuleShape]) -> dict[str, str]:
    """Return what a fingerprint says of the attributes that the rules give."""
    kinds = {f"{rule.name}.{each.name}": type_name(each.kind) for rule in rules for each in rule.attributes}
    return {ATTRIBUTES: json.dumps(kinds)}


def upgraded(stored: Mapping[str, str], former: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return a fingerprint as today's version makes it, where an earlier one made it of the same job.

    Shape: `former` as Job.former_parts gives it.
    """
    same = {part: now[part] for part, digest in former.items() if stored.get(part) == digest}
    if RELATION in stored:  # earlier versions kept the text of a query
        same[RELATION] = relation(stored[RELATION])
    return {**stored, **same}


def relation(name: str) -> str:
    """Return what a fingerprint says of the relation that a source reads: of a query no more than a digest.

    A query may hold what came from the environment.
    """
    kind, _, text = name.partition(" ")
    if kind != QUERY or text.startswith(_DIGEST):
        return name
    return f"{QUERY} {_DIGEST}{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"


def compare(
    stored: Mapping[str, str],
    now: Mapping[str, str],
    *,
    goes_on: bool = True,
    same_positions: Callable[[str, str], bool] = operator.eq,
) -> JobError | None:
    """Return why a checkpoint with one fingerprint can't serve a job with the other; None when it can.

    `goes_on`: the run is gone on with from its cursors, into items that must look alike; a catch-up run after
    a whole one has neither need. Attributes that one side doesn't know aren't compared.
    `same_positions`: whether cursors of two POSITIONS mean the same places, which the source knows.
    """
    differing = _differing(stored, now) - {STANDING}
    if not goes_on or (
        POSITIONS in stored and POSITIONS in now and same_positions(stored[POSITIONS], now[POSITIONS])
    ):
        differing.discard(POSITIONS)
    if not goes_on or ATTRIBUTES not in stored or ATTRIBUTES not in now:
        differing.discard(ATTRIBUTES)
    if not differing:
        return None
    said = [_say(part, differing, stored, now) for part in _PARTS]
    others = sorted(name for name in differing if name.partition(".")[0] not in _PARTS)
    return changed(
        "; ".join([*filter(None, said), *(f"the {name} changed" for name in others)]), goes_on=goes_on
    )


def same_target(stored: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether a run wrote to the target that is loaded now, whatever job it was."""
    return not any(name.startswith("target.") for name in _differing(stored, now))


def _differing(stored: Mapping[str, str], now: Mapping[str, str]) -> set[str]:
    differing = {name for name in (*stored, *now) if stored.get(name) != now.get(name)}
    if TABLE_ID not in stored or TABLE_ID not in now:
        differing.discard(TABLE_ID)
    elif TABLE_ID not in differing:
        differing.discard(TABLE_CREATED)
    return differing


def changed(changes: str, *, goes_on: bool) -> JobError:
    """Return the refusal to go on with a run, or to follow on a finished one."""
    if not goes_on:
        return JobError(
            f"the job isn't the one that its finished run was made for: {changes}."
            " Put back what was there to catch up with it, or load everything again with --fresh"
        )
    return JobError(
        f"the job isn't the one that its checkpoint was made for: {changes}."
        " Put back what was there to go on, or start over with --fresh"
    )


def reshaped(stored: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """Return in what the items to come differ in shape from those of a finished run; None when in nothing."""
    if ATTRIBUTES not in stored:
        return None
    before, after = json.loads(stored[ATTRIBUTES]), json.loads(now[ATTRIBUTES])
    return None if before == after else _say_attributes(before, after)


def _say(part: str, differing: set[str], stored: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """Name what changed in one part: its identity with both values, its section without (it is a hash)."""
    details = sorted(name for name in differing if name.startswith(f"{part}.") and name != ATTRIBUTES)
    unknown = "not known"
    said = [
        f"{name.removeprefix(f'{part}.')} was {stored.get(name, unknown)}, is {now.get(name, unknown)}"
        for name in details
    ]
    if ATTRIBUTES in differing and part == ATTRIBUTES.partition(".")[0]:
        said.append(_say_attributes(json.loads(stored[ATTRIBUTES]), json.loads(now[ATTRIBUTES])))
    if not said and part not in differing:
        return None
    return f"the {part} changed" + (f" ({', '.join(said)})" if said else "")


def _say_attributes(stored: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Say in what the items to come would differ from those written already."""
    names = [name for name in {**stored, **now} if stored.get(name) != now.get(name)]
    said = ", ".join(_change(name, stored.get(name), now.get(name)) for name in names[:NAMED_MAX])
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return f"the source's columns make other attributes: {said}{more}"


def _change(name: str, before: str | None, now: str | None) -> str:
    if before is None:
        return f"{name} is new"
    return f"{name} is gone" if now is None else f"{name} was {before}, is {now}"
