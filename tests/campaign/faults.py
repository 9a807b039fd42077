"""All kinds of faults that the stub knows, and what befalls the n-th request of a seed. Pure.

Invariant: every kind says by itself whether the request is applied, so that history needn't guess.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal, TypeAlias

Applied: TypeAlias = Literal["no", "yes", "late", "part"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One way for a request to go wrong, or to go right in an unusual way.

    `slow`: it costs the client its whole patience, so a seed has few of them. `ends`: the client may rightly
    give up, with a run that can be resumed. `throttles`: the client is told to slow down.
    """

    applied: Applied
    slow: bool = False
    ends: bool = False
    throttles: bool = False


NO, YES, LATE = Kind("no"), Kind("yes"), Kind("late")
THROTTLE = Kind("no", throttles=True)
KINDS: Final[Mapping[str, Kind]] = {
    # Refused as a whole: nothing is applied.
    "throughput_exceeded": THROTTLE,
    "throttling": THROTTLE,
    "request_limit": THROTTLE,
    "throttling_reasons_table": THROTTLE,
    "throttling_reasons_partition": THROTTLE,
    "throttling_reasons_account": THROTTLE,
    "http_429_html": THROTTLE,
    "unprocessed": Kind("part", throttles=True),
    "internal_500": NO,
    "internal_500_empty": NO,
    "unavailable_503": NO,
    "gateway_502_html": NO,
    "gateway_504_html": NO,
    "write_conflict": NO,
    "expired_token": NO,
    "signature_expired": NO,
    "html_200": NO,
    "empty_200": NO,
    "reset_before": NO,
    "close_before": NO,
    "not_http": NO,
    "silent_before": Kind("no", slow=True),
    # Applied, and the client can't know it.
    "internal_500_applied": YES,
    "unavailable_503_applied": YES,
    "html_200_applied": YES,
    "empty_200_applied": YES,
    "reset_after": YES,
    "close_after": YES,
    "truncated": YES,
    "reset_mid_body": YES,
    "broken_chunks": YES,
    "length_too_short": YES,
    "wrong_checksum": YES,
    "gzip_unasked": YES,
    "silent_after": Kind("yes", slow=True),
    "answered_too_late": Kind("yes", slow=True),
    # Applied once the connection is gone.
    "reset_applied_late": LATE,
    "internal_500_applied_late": LATE,
    # Applied and answered, but not as usual.
    "chunked": YES,
    "trickle": YES,
    "http_1_0": YES,
    "close_announced": YES,
    "closed_when_idle": YES,
    "interim_100": YES,
    "slow": YES,
    # What no repetition helps against: the run ends and is resumed.
    "access_denied": Kind("no", ends=True),
    "unknown_operation": Kind("no", ends=True),
    "html_403": Kind("no", ends=True),
}
"""`unprocessed` leaves a part of the items; of a request of one item it throttles the whole."""
BODY_TOO_LARGE: Final = "http_413"
"""Not by chance: befalls every request over a length."""
PASSING: Final = tuple(name for name, kind in KINDS.items() if not kind.ends)
ENDING: Final = tuple(name for name, kind in KINDS.items() if kind.ends)


@dataclass(frozen=True, slots=True)
class Faults:
    """What a stub does to the requests of one seed.

    Units: seconds, counted from the first write; rates of 1; bytes. `lasts_s` None: to the end.
    `late_apply_s`: no request lives longer than that behind its connection.
    """

    seed: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)
    lasts_s: float | None = None
    ending_at: Mapping[int, str] = field(default_factory=dict)
    body_max: int | None = None
    latency_s: float = 0.004
    late_apply_s: float = 0.6


def fault_of(faults: Faults, number: int, age_s: float, length: int) -> str | None:
    """Return what befalls the request of this number, so many seconds after the first write."""
    if (ending := faults.ending_at.get(number)) is not None:
        return ending
    if faults.body_max is not None and length > faults.body_max:
        return BODY_TOO_LARGE
    if faults.lasts_s is not None and age_s > faults.lasts_s:
        return None
    drawn = Random(faults.seed << 32 | number).random()
    for name, rate in faults.rates.items():
        drawn -= rate
        if drawn < 0:
            return name
    return None
