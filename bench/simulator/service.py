"""One request in, one reply out: faults, the operation, latency, and the counts that go with them.

Invariant: no input or output here, and no clock but the one handed in; the server does what a reply says.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal, TypeAlias

import orjson

from bench.simulator import admin, reads, transactions, writes
from bench.simulator.database import Call, Database
from bench.simulator.errors import DYNAMODB, SERVICE, ApiError, malformed, server_error, unknown_operation
from bench.simulator.faults import NOT_APPLIED, Fault, FaultPlan, Rates
from bench.simulator.latency import Latency
from bench.simulator.schema import Key
from bench.simulator.settings import Capacity, Model
from bench.simulator.table import Table

Operation: TypeAlias = Callable[[Database, Mapping[str, Any], Call], dict[str, Any]]
Ending: TypeAlias = Literal["whole", "reset", "silent", "truncated"]

TABLE_OPERATIONS: Final[Mapping[str, Operation]] = {
    "CreateTable": admin.create_table,
    "DescribeTable": admin.describe_table,
    "UpdateTable": admin.update_table,
    "DeleteTable": admin.delete_table,
    "ListTables": admin.list_tables,
}
ITEM_OPERATIONS: Final[Mapping[str, Operation]] = {
    "BatchWriteItem": writes.batch_write_item,
    "PutItem": writes.put_item,
    "DeleteItem": writes.delete_item,
    "UpdateItem": transactions.update_item,
    "TransactWriteItems": transactions.transact_write_items,
    "BatchExecuteStatement": writes.batch_execute_statement,
    "GetItem": reads.get_item,
    "BatchGetItem": reads.batch_get_item,
    "Query": reads.query,
    "Scan": reads.scan,
}
"""Faults and latency befall these only."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer. Units: `delay_s` seconds from the request to the answer."""

    status: int
    body: bytes
    delay_s: float = 0.0
    ending: Ending = "whole"
    touched: list[tuple[Table, Key]] = field(default_factory=list)
    """Keys that the request wrote: in flight until the answer is out."""


class Service:
    """Everything that the simulator knows, behind one function."""

    def __init__(
        self,
        *,
        model: Model | None = None,
        forced: Capacity | None = None,
        rates: Rates | None = None,
        latency: Latency | None = None,
        seed: int = 0,
    ) -> None:
        self.database = Database(model or Model(), forced)
        self.plan = FaultPlan(rates or Rates(), seed)
        self.latency = latency or Latency()
        self.seed = seed
        self.requests: Counter[tuple[str, str]] = Counter()
        """By operation and outcome: `ok`, `partial`, an error's code, or a fault's name."""
        self.seconds: dict[int, Counter[str]] = {}
        """Outcomes of requests on items, by whole second."""
        self._random = Random(seed)

    def handle(self, operation: str, body: bytes, *, signed: bool, now: float, wall: float) -> Reply:
        """Answer one request. Units: `now` seconds since the start, `wall` since 1970."""
        if operation not in ITEM_OPERATIONS:
            status, answer, outcome = self._perform(operation, body, signed, Call(now, wall, _never))
            self.requests[operation, outcome] += 1
            return Reply(status, answer)
        fate = self.plan.next()
        call = Call(now, wall, fate.leave if fate.unprocessed else _never)
        if fate.fault in NOT_APPLIED:
            status, answer, outcome = _refusal(fate.fault)
        else:
            status, answer, outcome = self._perform(operation, body, signed, call)
        if fate.fault is not None:
            outcome = fate.fault
        self.requests[operation, outcome] += 1
        self.seconds.setdefault(int(now), Counter())[outcome] += 1
        delay_s = self.plan.rates.late_s if fate.fault == "late" else self.latency.draw(self._random)
        return Reply(status, answer, delay_s, _ending(fate.fault), call.touched)

    def reset(self, now: float, *, tables: bool) -> None:
        """Forget what was counted and what capacity was saved; the tables too if asked."""
        self.requests.clear()
        self.seconds.clear()
        if tables:
            self.database.tables.clear()
        for table in self.database.tables.values():
            table.journal.clear()
            table.resources.forget(now)

    def _perform(self, operation: str, body: bytes, signed: bool, call: Call) -> tuple[int, bytes, str]:
        try:
            answer = self._answer(operation, body, signed, call)
        except ApiError as error:
            return error.status, error.body(), error.code
        partial = answer.get("UnprocessedItems") or answer.get("UnprocessedKeys")
        return 200, orjson.dumps(answer), "partial" if partial else "ok"

    def _answer(self, operation: str, body: bytes, signed: bool, call: Call) -> dict[str, Any]:
        perform = ITEM_OPERATIONS.get(operation) or TABLE_OPERATIONS.get(operation)
        if perform is None:
            raise unknown_operation()
        if not signed:
            raise ApiError(
                SERVICE + "MissingAuthenticationTokenException", "Request is missing Authentication Token"
            )
        try:
            request = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise malformed() from error
        if type(request) is not dict:
            raise malformed("Unexpected value type in payload")
        try:
            return perform(self.database, request, call)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # A member of another type than the API's model says; nothing is applied before all is read.
            raise malformed("Unexpected value type in payload") from error


def _refusal(fault: Fault | None) -> tuple[int, bytes, str]:
    match fault:
        case "throttled":
            error = ApiError(
                DYNAMODB + "ProvisionedThroughputExceededException",
                "The level of configured provisioned throughput for the table was exceeded. "
                "Consider increasing your provisioning level with the UpdateTable API.",
            )
        case "503":
            error = server_error(503)
        case _:
            error = server_error(500)
    return error.status, error.body(), error.code


def _ending(fault: Fault | None) -> Ending:
    match fault:
        case "reset_before" | "reset_after":
            return "reset"
        case "silent_before" | "silent_after":
            return "silent"
        case "truncated":
            return "truncated"
        case _:
            return "whole"


def _never() -> bool:
    return False
