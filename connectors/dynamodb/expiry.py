"""Time to live: which items DynamoDB deletes by itself, by one attribute of theirs. Pure.

Invariant: what isn't a number at the item's top level never expires, nor does what expired long ago. Now is
one moment, that at which the table was described: which items have expired doesn't change during a run.
Source: Developer Guide, "Using time to live (TTL) in DynamoDB".
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from engine.frozen import dataclass

OLDEST_S = 5 * 365 * 86_400
"""What expired longer ago isn't deleted. Source: Developer Guide, "Computing Time to Live (TTL)"."""
ENABLED = "ENABLED"
"""Source: API reference, TimeToLiveDescription.TimeToLiveStatus."""


@dataclass(frozen=True, slots=True)
class TimeToLive:
    """A table's TTL attribute, whose values are seconds since 1970, and when the table said so."""

    attribute: str
    now_s: int

    def expired(self, item: Mapping[str, Any]) -> bool:
        """Say whether DynamoDB may have deleted an item by itself."""
        text = item.get(self.attribute, {}).get("N")
        return text is not None and self.now_s - OLDEST_S <= float(text) < self.now_s

    @property
    def now(self) -> str:
        """The moment before which items have expired, ISO 8601 in UTC."""
        return f"{datetime.fromtimestamp(self.now_s, UTC):%Y-%m-%dT%H:%M:%SZ}"


def time_to_live(answer: Mapping[str, Any], now_s: int) -> TimeToLive | None:
    """Read the answer of DescribeTimeToLive; None where nothing expires."""
    said = answer.get("TimeToLiveDescription") or {}
    named = said.get("AttributeName")
    return TimeToLive(named, now_s) if named and said.get("TimeToLiveStatus") == ENABLED else None
