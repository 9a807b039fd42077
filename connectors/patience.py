"""How long a source that is away is tried again, and how often: one policy for all sources."""

from engine.retry import Patience, RetryPolicy

PATIENCE_S = 300.0
"""How long a server that is away is waited for before the run stops, resumable."""

BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.1, 15.0


def with_source(patience_s: float) -> Patience:
    """Return the patience of one reading. Units: seconds from the first failure on."""
    farewell = "{error}; gave up after {give_up_after_s:.0f} s, run again to resume"
    return Patience(RetryPolicy(BACKOFF_FIRST_S, BACKOFF_MAX_S, patience_s, farewell))
