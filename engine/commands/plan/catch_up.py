"""Which ways a job has to catch up, by a watermark and by its source's log, and what the other one lacks.

Invariant: nothing is foretold but from what the server itself has counted, and it is said since when.
"""

from engine.amounts import bytes_text, duration
from engine.commands.ends import Ends
from engine.commands.run.following import lacking

DAY_S = 86_400.0
_PREFIX = "source.catch_up: "


async def ways(ends: Ends, load_s: float | None) -> str | None:
    """Say by what a job catches up, in one line; None where its source has no log that could be read.

    Raises: nothing of the log's own: what is wrong with it is what is said.
    """
    abilities, job = ends.source.abilities, ends.job
    if abilities.feed is not None:
        other = "by source.watermark it could only where a column says when a row last changed"
        return f"by the log{await _held_back(ends, load_s)}; {other}"
    if abilities.log is None:
        return None
    now = (
        f"by {', '.join(job.source.watched)}" if job.source.watched else "none: there is no source.watermark"
    )
    why = await lacking(ends, abilities.log())
    if why is None:
        return (
            f"{now}; by the log, which tells of deletes and changed keys, it could as well (source.catch_up)"
        )
    return f"{now}; by the log (source.catch_up) it can't yet: {why.removeprefix(_PREFIX)}"


async def _held_back(ends: Ends, load_s: float | None) -> str:
    """Say how much of the log the server will keep for the job, at the rate at which it has written it."""
    if ends.source.abilities.log_rate is None:  # it keeps none for a job alone
        return ""
    if (found := await ends.source.abilities.log_rate()) is None:
        return ", of which the server doesn't tell how fast it grows"
    bytes_per_s, since = found
    run = (
        ""
        if load_s is None
        else f"{bytes_text(round(bytes_per_s * load_s))} for a full run of {duration(load_s)}, "
    )
    return (
        f", of which the server keeps {run}{bytes_text(round(bytes_per_s * DAY_S))} for a day between runs"
        f" (by what it wrote in all since {since}, on average)"
    )
