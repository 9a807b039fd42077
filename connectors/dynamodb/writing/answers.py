"""What an answer of DynamoDB means for the items of its request. Pure.

Invariant: an item counts as applied only when the server said so. An answer that can't be read is
Unavailable, which means that nobody knows, and everything is sent again.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import orjson

from connectors.dynamodb.encoding.comparison import canonical
from connectors.dynamodb.encoding.entries import WriteEntry, entry, entry_of
from connectors.dynamodb.errors import Subject, bare, refused
from connectors.dynamodb.http.connection import Answer
from engine.errors import BackfillError
from engine.frozen import dataclass
from engine.meter import TABLE

Cause: TypeAlias = Literal["table", "index", "partition", "account", "unknown"]

THROTTLES: Mapping[str, Cause] = {
    "ProvisionedThroughputExceeded": "unknown",
    "Throttling": "unknown",
    "ThrottlingError": "unknown",
    "Throttled": "unknown",
    "TooManyRequests": "unknown",
    "SlowDown": "unknown",
    "RequestThrottled": "account",
    "RequestLimitExceeded": "account",
}
"""Source: botocore's model of DynamoDB and its list of throttling codes, `Exception` cut off."""

CAUSES: Sequence[tuple[str, Cause]] = (
    ("AccountLimitExceeded", "account"),
    ("KeyRangeThroughputExceeded", "partition"),
    ("ProvisionedThroughputExceeded", "table"),
    ("MaxOnDemandThroughputExceeded", "table"),
)
"""Ends of ThrottlingReasons; the start says Table or Index. Source: DynamoDB developer guide, throttling."""

CONFLICTS = frozenset({"TransactionConflict", "TransactionInProgress", "ReplicatedWriteConflict"})
REFUSALS = frozenset({"Validation", "ValidationError", "ItemCollectionSizeLimitExceeded", "Serialization"})
EXPIRIES = frozenset({"ExpiredToken", "RequestExpired", "RequestTimeTooSkewed"})
OUTAGES = frozenset({"InternalServerError", "InternalServer", "InternalFailure", "ServiceUnavailable"})
HOPELESS = frozenset({"ResourceNotFound", "AccessDenied"})
"""What a single statement may answer and what all others would answer too."""
CAPACITY_UNKNOWN = re.compile(r"consumed ?capacity", re.IGNORECASE)
"""In a refusal that is about what the request asks, not about its items: `INDEXES consumed capacity is not
supported`. Source: scylladb/scylladb#29138."""
REPEATED_BYTES_MAX, REPEATED_MAX = 512, 256
"""Most answers say the same as some before, to the letter: that many of such a length are read only once."""
DUPLICATES = frozenset({"DuplicateItem", "ConditionalCheckFailed"})


@dataclass(frozen=True, slots=True)
class Consumed:
    """What a request cost.

    Units: `units` write units by index, the table itself under TABLE; `drawn` write units out of the table's
    own capacity, which its local indexes share; None when the server didn't say.
    """

    units: Mapping[str, float] = field(default_factory=dict)
    drawn: float | None = None


class Fate(Enum):
    """What became of one item."""

    APPLIED = "applied"
    SKIPPED = "skipped"
    """The condition, or the item that is there, kept it out."""
    THROTTLED = "throttled"
    FAILED = "failed"
    """It may pass: try again."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One item that the server won't take, and why."""

    detail: str


@dataclass(frozen=True, slots=True)
class Done:
    """Every item of the request is applied."""

    consumed: Consumed


@dataclass(frozen=True, slots=True)
class Unprocessed:
    """These items are not applied, all others are. Shape: entries of UnprocessedItems as parsed JSON."""

    entries: Sequence[Mapping[str, Any]]
    consumed: Consumed


@dataclass(frozen=True, slots=True)
class Each:
    """Every item has its own fate, in the order of the request."""

    fates: Sequence[Fate | Refusal]
    consumed: Consumed


@dataclass(frozen=True, slots=True)
class Throttled:
    """Nothing is applied; `index` names the index whose capacity was short."""

    cause: Cause
    index: str | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """Nothing is applied: somebody else's transaction holds an item. It may pass soon."""

    detail: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The server failed; nobody knows what is applied."""

    detail: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing is applied, because of at least one item that the server doesn't name."""

    detail: str


@dataclass(frozen=True, slots=True)
class Expired:
    """Nothing is applied: the credentials, or the signature's time, are over."""

    detail: str


@dataclass(frozen=True, slots=True)
class Fatal:
    """Nothing is applied, and no repetition helps; `detail` is what the server says: its code and words."""

    detail: str


Body: TypeAlias = Mapping[str, Any]
Verdict: TypeAlias = Done | Each | Throttled | Conflict | Unavailable | Refused | Expired | Fatal
ReadBody: TypeAlias = Callable[[Body, Consumed, int], Verdict | Unprocessed]


def judge(read: ReadBody, answer: Answer, items: int) -> Verdict | Unprocessed:
    """Say what an answer means for a request of `items` items; `read` is the mode's."""
    if len(answer.body) <= REPEATED_BYTES_MAX:
        return _judge_again(read, answer.status, answer.body, items)
    return _judge(read, answer.status, answer.body, items)


def _judge(read: ReadBody, status: int, text: bytes, items: int) -> Verdict | Unprocessed:
    try:
        body = {} if not text and status != 200 else orjson.loads(text)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        return _unreadable(status)
    if status != 200:
        return _fault(status, body)
    return read(body, _consumed(body.get("ConsumedCapacity")), items)


_judge_again = lru_cache(REPEATED_MAX)(_judge)


def read_batch(body: Body, consumed: Consumed, _: int) -> Verdict | Unprocessed:
    """Say what an answer to BatchWriteItem means."""
    unprocessed = body.get("UnprocessedItems")
    if not isinstance(unprocessed, dict):
        return Unavailable("the answer doesn't say which items are unprocessed")
    if not unprocessed:
        return Done(consumed)
    return Unprocessed([entry for entries in unprocessed.values() for entry in entries], consumed)


def read_statements(body: Body, consumed: Consumed, items: int) -> Verdict:
    """Say what an answer to BatchExecuteStatement means."""
    responses = body.get("Responses")
    if not isinstance(responses, list) or len(responses) != items:
        return Unavailable("the answer doesn't say how each statement ended")
    fates = [_statement(response) for response in responses]
    if hopeless := [fate for fate in fates if isinstance(fate, Fatal)]:
        return hopeless[0]
    if all(fate is Fate.APPLIED for fate in fates):
        return Done(consumed)
    return Each([fate for fate in fates if not isinstance(fate, Fatal)], consumed)


def read_single(_: Body, consumed: Consumed, items: int) -> Verdict:
    """Say what an answer to PutItem or DeleteItem means."""
    assert items == 1, "such a call is about one item"
    return Done(consumed)


def fates_of(sent: Sequence[bytes], verdict: Unprocessed, key: Sequence[str]) -> Each | Unavailable:
    """Return each item's fate. Shape: as match_unprocessed."""
    places = match_unprocessed(sent, verdict.entries, key)
    if places is None:
        return Unavailable("UnprocessedItems names items that weren't sent")
    fates: list[Fate | Refusal] = [Fate.APPLIED] * len(sent)
    for place in places:
        fates[place] = Fate.THROTTLED
    return Each(fates, verdict.consumed)


def match_unprocessed(
    sent: Sequence[bytes], entries: Sequence[Mapping[str, Any]], key: Sequence[str]
) -> tuple[int, ...] | None:
    """Return which of the sent items came back, by their primary keys; None when one can't be told.

    Shape: `sent` are entries of put mode as JSON; `key` the names of the table's key attributes.
    """
    try:
        places = {_primary_key(entry_of(text), key): place for place, text in enumerate(sent)}
        found = {places[_primary_key(entry(each), key)] for each in entries}
    except (
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
    ):  # whatever an answer may hold instead of keys
        return None
    return tuple(sorted(found)) if len(places) == len(sent) and len(found) == len(entries) else None


def _primary_key(of: WriteEntry, key: Sequence[str]) -> tuple[Any, ...]:
    """Return what identifies an item: numbers as numbers, however they are written."""
    return tuple(next(iter(canonical(of.key[name]).items())) for name in key)


def _unreadable(status: int) -> Verdict:
    if status in (200, 408, 429) or status >= 500:
        return Unavailable(f"HTTP {status} without a readable answer")
    if status == 413:
        return Refused("HTTP 413: a proxy on the way takes no request of this length")
    return Fatal(f"HTTP {status} and no JSON")


def _fault(status: int, body: Mapping[str, Any]) -> Verdict:
    code = code_of(body)
    message = body.get("message") or body.get("Message") or ""
    detail = f"{code}: {message}" if message else code or f"HTTP {status}"
    if code in THROTTLES:
        return _throttled(THROTTLES[code], message, body)
    if code == "ConditionalCheckFailed":
        return Each((Fate.SKIPPED,), Consumed())
    if code in CONFLICTS:
        return Conflict(detail)
    if status >= 500 or status == 408 or code in OUTAGES:
        return Unavailable(detail)
    if status == 429:
        return _throttled("unknown", message, body)
    if code in REFUSALS or status == 413:
        return Refused(detail)
    if code == "InvalidSignature":
        # Its message repeats what was signed, the session token among it.
        return Expired(f"{code}: the clock is off") if _time_is_off(message) else Fatal(code)
    return Expired(detail) if code in EXPIRIES else Fatal(detail)


def code_of(body: Mapping[str, Any]) -> str:
    """Return the name of the fault that a server's answer tells, without what surrounds it."""
    return bare(body.get("__type") or body.get("code") or "")


def _time_is_off(message: str) -> bool:
    return "Signature expired" in message or "not yet current" in message


def _throttled(cause: Cause, message: str, body: Mapping[str, Any]) -> Throttled:
    reasons = body.get("ThrottlingReasons") or body.get("throttlingReasons")
    for told in reasons if isinstance(reasons, list) else ():
        reason, resource = told.get("reason") or "", told.get("resource") or ""
        index = resource.rsplit("/index/", 1)[1] if "/index/" in resource else None
        for end, named in CAUSES:
            if reason.endswith(end):
                # A hot key range of an index isn't one of the table's partition keys: it slows the index.
                on_index = named != "account" and (reason.startswith("Index") or index is not None)
                return Throttled("index" if on_index else named, index)
    if cause == "unknown" and "secondary index" in message:
        return Throttled("index")
    if cause == "unknown" and "throughput for the table" in message:
        return Throttled("table")
    return Throttled(cause)


def _statement(response: Any) -> Fate | Refusal | Fatal:
    error = response.get("Error") if isinstance(response, dict) else None
    if not error:
        return Fate.APPLIED
    code, message = bare(error.get("Code") or ""), error.get("Message") or ""
    if code in DUPLICATES:
        return Fate.SKIPPED
    if code in THROTTLES:
        return Fate.THROTTLED
    if code in CONFLICTS or code in OUTAGES:
        return Fate.FAILED
    detail = f"{code}: {message}" if message else code
    return Fatal(detail) if code in HOPELESS else Refusal(detail)


def _consumed(told: Any) -> Consumed:
    """Add up what one answer says per index; a request goes to one table only."""
    units: dict[str, float] = {}
    drawn: float | None = None
    for capacity in told if isinstance(told, list) else (told,) if isinstance(told, dict) else ():
        table = capacity.get("Table")
        own = capacity.get("CapacityUnits", 0.0) if table is None else table.get("CapacityUnits", 0.0)
        units[TABLE] = units.get(TABLE, 0.0) + own
        drawn = (drawn or 0.0) + own
        for name, index in (capacity.get("GlobalSecondaryIndexes") or {}).items():
            units[name] = units.get(name, 0.0) + index.get("CapacityUnits", 0.0)
        for name, index in (capacity.get("LocalSecondaryIndexes") or {}).items():
            units[name] = units.get(name, 0.0) + index.get("CapacityUnits", 0.0)
            drawn += index.get("CapacityUnits", 0.0)
    return Consumed(units, drawn)


def explained(fatal: Fatal, operation: str, table: str) -> BackfillError:
    """Put into one sentence what stands in the way and what to do about it."""
    code, _, message = fatal.detail.partition(": ")
    return refused(code, message, operation, Subject("target.table", f"table {table}"))
