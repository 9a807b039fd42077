"""What state tables need: UpdateItem that sets attributes, and writes that happen all or not at all."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from bench.simulator import expressions
from bench.simulator.answers import consumed, return_mode, throttled
from bench.simulator.capacity import Charge
from bench.simulator.database import Call, Database
from bench.simulator.errors import DYNAMODB, ApiError, constraint, invalid
from bench.simulator.expressions import AttributePath, Condition
from bench.simulator.schema import Item
from bench.simulator.table import Table, Write
from bench.simulator.values import check_item
from bench.simulator.writes import apply, write_one

ACTIONS_MAX: Final = 100
"""Source: API_TransactWriteItems, TransactItems."""
BYTES_MAX: Final = 4 * 1024 * 1024
"""All items of a transaction together. Source: as ACTIONS_MAX."""
COST: Final = 2
"""Times what a write costs: to prepare and to commit. Source: Developer Guide, "DynamoDB transactions"."""
TOKEN_S: Final = 600.0
"""A ClientRequestToken holds so long. Source: as ACTIONS_MAX."""


class Action(NamedTuple):
    """One action of a transaction; one that `checks` writes nothing."""

    table: Table
    write: Write
    condition: Condition | None
    checks: bool


def update_item(database: Database, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """Set attributes of one item, which is made if it isn't there, if its condition holds."""
    table = database.table(request.get("TableName"))
    names = expressions.Names(request)
    return write_one(database, table, _update(table, request, names), request, names, call)


def transact_write_items(database: Database, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """Do all of up to 100 actions, or none of them and tell why."""
    mode = return_mode(request)
    wanted = request.get("TransactItems")
    if not wanted or len(wanted) > ACTIONS_MAX:
        raise constraint("transactItems", f"have length between 1 and {ACTIONS_MAX}")
    token = request.get("ClientRequestToken")
    if token is not None and call.now - database.tokens.get(token, -TOKEN_S) < TOKEN_S:
        return consumed(call, mode, several=True)
    actions = [_action(database, each) for each in wanted]
    if len({(each.table.schema.name, each.write.key) for each in actions}) < len(actions):
        raise invalid("Transaction request cannot include multiple operations on one item")
    if sum(each.write.size for each in actions) > BYTES_MAX:
        raise invalid("Collection size exceeded. Maximum allowed size is 4194304 bytes")
    failed = [not _holds(action) for action in actions]
    if any(failed):
        raise _cancelled(failed, "ConditionalCheckFailed", "The conditional request failed")
    for number, action in enumerate(actions):
        charges = [_doubled(charge) for charge in action.table.charges(action.write)]
        shortage = database.pay(action.table, charges[: 1 if action.checks else None], "Write", call)
        if shortage is not None:
            error = throttled(action.table, [shortage])
            code = error.code.removesuffix("Exception")
            raise _cancelled([each == number for each in range(len(actions))], code, error.message)
    for action in actions:
        if not action.checks:
            apply(database, action.table, action.write, call)
    if token is not None:
        database.tokens[token] = call.now
    return consumed(call, mode, several=True)


def _action(database: Database, wanted: Mapping[str, Any]) -> Action:
    [(kind, part)] = wanted.items()
    table = database.table(part.get("TableName"))
    names = expressions.Names(part)
    match kind:
        case "Put":
            size = check_item(part["Item"])
            write = Write(table.schema.check_put(part["Item"], batch=False), part["Item"], size)
        case "Update":
            write = _update(table, part, names)
        case "Delete" | "ConditionCheck":
            write = Write(table.schema.check_key(part.get("Key")), None, 0)
        case _:
            raise invalid("TransactItems can only contain one of Check, Put, Update or Delete")
    condition = expressions.parse(part, "ConditionExpression", names)
    names.close()
    return Action(table, write, condition, kind == "ConditionCheck")


def _update(table: Table, request: Mapping[str, Any], names: expressions.Names) -> Write:
    """Return the item as UpdateExpression leaves it, as a put."""
    key = table.schema.check_key(request.get("Key"))
    record = table.items.get(key)
    item: Item = dict(request["Key"]) if record is None else record.item()
    text = (request.get("UpdateExpression") or "").strip()
    if text[:4].upper() != "SET ":
        raise invalid("Invalid UpdateExpression: only SET with plain values is known here")
    for assignment in text[4:].split(","):
        left, _, right = (part.strip() for part in assignment.partition("="))
        target, value = (names.operand(word, "UpdateExpression") for word in (left, right))
        if not isinstance(target, AttributePath) or isinstance(value, AttributePath):
            raise invalid("Invalid UpdateExpression: only SET with plain values is known here")
        if target.name in table.schema.keys.names:
            raise invalid(
                "One or more parameter values were invalid: Cannot update attribute "
                f"{target.name}. This attribute is part of the key"
            )
        item[target.name] = dict(value)
    size = check_item(item)
    table.schema.check_put(item, batch=False)
    return Write(key, item, size)


def _holds(action: Action) -> bool:
    record = action.table.items.get(action.write.key)
    return expressions.holds(action.condition, None if record is None else record.item())


def _doubled(charge: Charge) -> Charge:
    return charge._replace(units=COST * charge.units)


def _cancelled(at_fault: list[bool], code: str, message: str) -> ApiError:
    codes = [code if each else "None" for each in at_fault]
    reasons = [{"Code": each, "Message": message} if each != "None" else {"Code": each} for each in codes]
    return ApiError(
        DYNAMODB + "TransactionCanceledException",
        f"Transaction cancelled, please refer cancellation reasons for specific reasons [{', '.join(codes)}]",
        extra={"CancellationReasons": reasons},
    )
