"""How long a source that is away is tried again, and how often: one policy for all sources."""

from collections.abc import Callable

from engine.absence import Absence
from engine.retry import Patience, RetryPolicy

PATIENCE_S = 300.0
"""How long a server that is away is waited for before the run stops, resumable."""

BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.1, 15.0


def absence(patience_s: float, tell: Callable[[str], None]) -> Absence:
    """Return what tells that the source of all readings is away."""
    return Absence(
        f"the source can't be read ({{error}}): waiting for it, up to {patience_s:.0f} s",
        "the source is back",
        tell,
    )


def with_source(patience_s: float, away: Absence | None = None) -> Patience:
    """Return the patience of one reading; `away` is told. Units: seconds from the first failure on."""
    farewell = "{error}; gave up after {give_up_after_s:.0f} s, run again to resume"
    return Patience(RetryPolicy(BACKOFF_FIRST_S, BACKOFF_MAX_S, patience_s, farewell), absence=away)
