"""Times as the state, the dead letters and the report show them: ISO 8601 in UTC, to the millisecond.

And the clock for what ends while nobody looks.
"""

import time
from datetime import UTC, datetime
from functools import partial

boot_s = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""Return seconds by a clock that goes on while this process or its machine is stopped, SIGSTOP and suspend
alike; all processes of a machine read the same. A partial, so that it costs no Python call.
Source: clock_gettime(2); macOS's CLOCK_MONOTONIC runs in sleep, while time.monotonic() there doesn't."""


def utc_now() -> str:
    """Return the time now."""
    return _text(datetime.now(UTC))


def utc_at(seconds: float) -> str:
    """Return a time. Units: seconds since the epoch."""
    return _text(datetime.fromtimestamp(seconds, UTC))


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
