"""How many processes a load is worth, where nobody has said a number. Pure.

Invariant: a process more is never chosen where the rows, the target, the source or the cores make it idle.
"""

from engine.frozen import dataclass

ROWS_EACH = 500_000
"""Rows for each process, the runner's own among them: one that joins costs as much CPU as some 150,000 rows
before its first, and as much memory again (docs/benchmarks/log.md)."""


WORKERS_MAX = 256
"""The most processes that are chosen, wherever they are; --workers takes no more either."""


@dataclass(frozen=True, slots=True)
class Worth:
    """The processes that a load gets, and why not more."""

    workers: int
    why: str


def worth(rows: int | None, *, cores: int | None, target_max: int | None, cursors_max: int | None) -> Worth:
    """Choose: as many as the load and the target can use.

    Shape: `rows` those left to read, `cores` those of this machine, `target_max` the processes that fill the
    target, `cursors_max` the most cursors of the source; None: not known, or without a bound.
    """
    bounds = [Worth(WORKERS_MAX, "no run has more")]
    if cores is not None:
        lends = f"this machine lends {cores} cores" if cores > 1 else "this machine lends one core"
        bounds.append(Worth(cores, lends))
    if target_max is not None:
        bounds.append(Worth(target_max, "so many fill what the target is set to take"))
    if cursors_max is not None:
        bounds.append(Worth(cursors_max, f"the source lends connections for {cursors_max} cursors"))
    if rows is not None:
        of = f"{rows:,} rows are expected, and one process takes {ROWS_EACH:,} before another pays"
        bounds.append(Worth(rows // ROWS_EACH, of))
    least = min(bounds, key=lambda bound: bound.workers)
    return Worth(max(1, least.workers), least.why)
