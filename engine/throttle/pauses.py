"""How long to wait before a repetition. Pure."""

from random import Random


def jittered(attempt: int, base_s: float, cap_s: float, random: Random) -> float:
    """Return a random pause before repetition `attempt` (from 1); its range triples with every attempt.

    Source: AWS Architecture Blog, Exponential Backoff and Jitter.
    """
    return random.uniform(base_s, max(base_s, min(cap_s, base_s * 3.0 ** min(attempt, 30))))
