"""Times as the state, the dead letters and the report show them: ISO 8601 in UTC, to the millisecond."""

from datetime import UTC, datetime


def utc_now() -> str:
    """Return the time now."""
    return _text(datetime.now(UTC))


def utc_at(seconds: float) -> str:
    """Return a time. Units: seconds since the epoch."""
    return _text(datetime.fromtimestamp(seconds, UTC))


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
