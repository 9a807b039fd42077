"""What answers share: consumed capacity as it was asked for, and throttling as the service words it. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from bench.simulator.admin import ARN
from bench.simulator.capacity import Shortage
from bench.simulator.database import Call
from bench.simulator.errors import DYNAMODB, SERVICE, ApiError, constraint
from bench.simulator.settings import TABLE
from bench.simulator.table import Table

RETURN_MODES: Final = ("INDEXES", "TOTAL", "NONE")

_PROVISIONED: Final = (
    "The level of configured provisioned throughput for the table was exceeded. "
    "Consider increasing your provisioning level with the UpdateTable API."
)
_PROVISIONED_INDEX: Final = (
    "The level of configured provisioned throughput for one or more global secondary indexes of the table "
    "was exceeded. Consider increasing your provisioning level for the under-provisioned global secondary "
    "indexes with the UpdateTable API"
)
_ON_DEMAND: Final = (
    "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling your "
    "table or index so please try again shortly. If exceptions persist, check if you have a hot key: "
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html"
)
_MAXIMUM: Final = "Throughput exceeds the maximum OnDemandThroughput configured on table or index"
_ACCOUNT: Final = "Throughput exceeds the current throughput quota for your account."


def return_mode(request: Mapping[str, Any]) -> str:
    """Return what the request says of ReturnConsumedCapacity."""
    mode = request.get("ReturnConsumedCapacity") or "NONE"
    if mode not in RETURN_MODES:
        raise constraint("returnConsumedCapacity", "satisfy enum value set: [INDEXES, TOTAL, NONE]", mode)
    return str(mode)


def consumed(call: Call, mode: str, *, several: bool = False) -> dict[str, Any]:
    """Return ConsumedCapacity as a member of the answer, a list for the operations on several tables."""
    if mode == "NONE":
        return {}
    told = [_consumed(name, units, mode) for name, units in call.consumed.items()]
    if several:
        return {"ConsumedCapacity": told}
    return {"ConsumedCapacity": told[0]} if told else {}


def throttled(table: Table, shortages: Iterable[Shortage]) -> ApiError:
    """Return the exception for a request of which nothing was done.

    Source: API reference, ThrottlingReason; botocore's model spells its list with a small letter in
    ThrottlingException only.
    """
    distinct = list(dict.fromkeys(shortages))
    first = distinct[0]
    reasons = [
        {
            "reason": each.reason,
            "resource": ARN + table.schema.name + (f"/index/{each.where}" if each.where else ""),
        }
        for each in distinct
    ]
    if first.limit == "AccountLimitExceeded":
        return ApiError(DYNAMODB + "RequestLimitExceeded", _ACCOUNT, extra={"ThrottlingReasons": reasons})
    if table.capacities[first.where].write is not None:
        message = _PROVISIONED_INDEX if first.where else _PROVISIONED
        return ApiError(
            DYNAMODB + "ProvisionedThroughputExceededException", message, extra={"ThrottlingReasons": reasons}
        )
    message = _MAXIMUM if first.limit == "MaxOnDemandThroughputExceeded" else _ON_DEMAND
    return ApiError(SERVICE + "ThrottlingException", message, extra={"throttlingReasons": reasons})


def _consumed(table: str, units: Mapping[str, float], mode: str) -> dict[str, Any]:
    told: dict[str, Any] = {"TableName": table, "CapacityUnits": sum(units.values())}
    if mode == "INDEXES":
        indexes = {name: {"CapacityUnits": each} for name, each in units.items() if name != TABLE}
        told["Table"] = {"CapacityUnits": units.get(TABLE, 0.0)}
        if indexes:
            told["GlobalSecondaryIndexes"] = indexes
    return told
