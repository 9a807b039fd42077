"""How long to wait before a repetition. Pure."""

from random import Random

from engine.retry import RetryPolicy


def jittered(attempt: int, base_s: float, cap_s: float, random: Random) -> float:
    """Return a random pause before repetition `attempt` (from 1); its range triples with every attempt.

    Source: AWS Architecture Blog, Exponential Backoff and Jitter.
    """
    return RetryPolicy(base_s, cap_s).pause_s(attempt, random)
