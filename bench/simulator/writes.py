"""The operations that write: batches, single items with conditions, PartiQL inserts."""

from collections.abc import Mapping
from typing import Any, Final

from bench.simulator import expressions
from bench.simulator.answers import consumed, return_mode, throttled
from bench.simulator.capacity import Shortage
from bench.simulator.database import Call, Database
from bench.simulator.errors import DYNAMODB, ApiError, condition_failed, constraint, invalid, malformed
from bench.simulator.partiql import insert_item, parse_insert
from bench.simulator.schema import Item
from bench.simulator.table import Table, Write
from bench.simulator.values import check_item
from connectors.dynamodb.limits import BATCH_ITEMS_MAX, STATEMENT_LENGTH_MAX, STATEMENTS_MAX

_DUPLICATES: Final = "Provided list of item keys contains duplicates"
_ONE_OF_TWO: Final = (
    "Supplied AttributeValue has more than one datatypes set, "
    "must contain exactly one of the supported datatypes"
)


def batch_write_item(database: Database, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """Put and delete up to 25 items, each for itself."""
    mode = return_mode(request)
    wanted = request.get("RequestItems")
    if not wanted:
        raise invalid("The requestItems parameter is required for BatchWriteItem")
    if type(wanted) is not dict:
        raise malformed("Unexpected value type in payload")
    for name, entries in wanted.items():
        if type(entries) is not list:
            raise malformed("Unexpected value type in payload")
        if not entries:
            raise constraint(f"requestItems.{name}.member", "have length greater than or equal to 1")
        if len(entries) > BATCH_ITEMS_MAX:
            raise invalid(
                f"1 validation error detected: Value '{{{name}=[{len(entries)} requests]}}' at "
                "'requestItems' failed to satisfy constraint: Map value must satisfy constraint: "
                "[Member must have length less than or equal to 25, Member must have length greater than or "
                "equal to 1]"
            )
    if sum(map(len, wanted.values())) > BATCH_ITEMS_MAX:
        raise invalid("Too many items requested for the BatchWriteItem call")
    sizes = [[_check_entry(entry) for entry in entries] for entries in wanted.values()]
    writes: list[tuple[Table, Write, Any]] = []
    for (name, entries), each in zip(wanted.items(), sizes, strict=True):
        table = database.table(name)
        found = [_write(table, entry, size) for entry, size in zip(entries, each, strict=True)]
        if len({write.key for write in found}) < len(found):
            raise invalid(_DUPLICATES)
        writes += [(table, write, entry) for write, entry in zip(found, entries, strict=True)]
    left: dict[str, list[Any]] = {}
    short: list[tuple[Table, Shortage]] = []
    for table, write, entry in writes:
        shortage = None
        if call.leave() or (shortage := _perform(database, table, write, call)) is not None:
            left.setdefault(table.schema.name, []).append(entry)
        if shortage is not None:
            short.append((table, shortage))
    if short and sum(map(len, left.values())) == len(writes):
        blamed = short[0][0]
        raise throttled(blamed, [shortage for table, shortage in short if table is blamed])
    return {"UnprocessedItems": left, **consumed(call, mode, several=True)}


def put_item(database: Database, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """Put one item if its condition holds."""
    item = request.get("Item")
    if item is None:
        raise constraint("item", "not be null", "null")
    size = check_item(item)
    table = database.table(request.get("TableName"))
    write = Write(table.schema.check_put(item, batch=False), item, size)
    return write_one(database, table, write, request, expressions.Names(request), call)


def delete_item(database: Database, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """Delete one item if its condition holds."""
    table = database.table(request.get("TableName"))
    write = Write(table.schema.check_key(request.get("Key")), None, 0)
    return write_one(database, table, write, request, expressions.Names(request), call)


def batch_execute_statement(database: Database, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """Insert up to 25 items, each if its key isn't there yet; the answer tells each one's fate."""
    mode = return_mode(request)
    statements = request.get("Statements")
    if not statements:
        raise constraint("statements", "have length greater than or equal to 1", "[]")
    if len(statements) > STATEMENTS_MAX:
        raise constraint("statements", f"have length less than or equal to {STATEMENTS_MAX}")
    for number, each in enumerate(statements, 1):
        if len(each.get("Statement", "")) > STATEMENT_LENGTH_MAX:
            raise constraint(
                f"statements.{number}.member.statement",
                f"have length less than or equal to {STATEMENT_LENGTH_MAX}",
            )
    inserts = [_insert(database, each) for each in statements]
    keys = [(insert[0].schema.name, insert[1].key) for insert in inserts if not isinstance(insert, ApiError)]
    if len(set(keys)) < len(keys):
        raise invalid(_DUPLICATES)
    answers = []
    for insert in inserts:
        if isinstance(insert, ApiError):
            answers.append(_error(insert))
            continue
        table, write = insert
        fault: ApiError | None = None
        if call.leave():
            fault = ApiError(DYNAMODB + "ThrottlingException", "Throughput exceeds the current capacity")
        elif write.key in table.items:
            shortage = database.pay(table, table.charges(write)[:1], "Write", call)
            fault = ApiError(DYNAMODB + "DuplicateItemException", "Duplicate primary key exists in table")
            if shortage is not None:
                fault = throttled(table, [shortage])
        elif (shortage := _perform(database, table, write, call)) is not None:
            fault = throttled(table, [shortage])
        told = {} if fault is None else _error(fault)
        answers.append({**told, "TableName": table.schema.name})
    return {"Responses": answers, **consumed(call, mode, several=True)}


def _check_entry(entry: Any) -> int:
    """Check the values of one put or delete; return the put's size."""
    if type(entry) is not dict:
        raise malformed("Unexpected value type in payload")
    if [*entry] == ["PutRequest"]:
        return check_item(entry["PutRequest"].get("Item"))
    if [*entry] == ["DeleteRequest"]:
        return 0
    raise invalid(_ONE_OF_TWO)


def _write(table: Table, entry: Mapping[str, Any], size: int) -> Write:
    put = entry.get("PutRequest")
    if put is None:
        return Write(table.schema.check_key(entry["DeleteRequest"].get("Key")), None, 0)
    return Write(table.schema.check_put(put["Item"], batch=True), put["Item"], size)


def _perform(database: Database, table: Table, write: Write, call: Call) -> Shortage | None:
    shortage = database.pay(table, table.charges(write), "Write", call)
    if shortage is None:
        apply(database, table, write, call)
    return shortage


def apply(database: Database, table: Table, write: Write, call: Call) -> None:
    """Do a write that is paid for."""
    table.apply(write, call.now)
    table.resources.hold(table.size, database.model, call.now)
    call.touched.append((table, write.key))


def write_one(
    database: Database,
    table: Table,
    write: Write,
    request: Mapping[str, Any],
    names: expressions.Names,
    call: Call,
) -> dict[str, Any]:
    """Do one write if the request's condition holds."""
    mode = return_mode(request)
    condition = expressions.parse(request, "ConditionExpression", names)
    names.close()
    record = table.items.get(write.key)
    old: Item | None = None
    if record is not None and (condition is not None or request.get("ReturnValues") == "ALL_OLD"):
        old = record.item()
    if not expressions.holds(condition, old):
        # A condition that fails costs what the write would have: "Condition expressions", capacity.
        if shortage := database.pay(table, table.charges(write)[:1], "Write", call):
            raise throttled(table, [shortage])
        shown = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        raise condition_failed(old if shown else None)
    if shortage := _perform(database, table, write, call):
        raise throttled(table, [shortage])
    returned = {"Attributes": old} if request.get("ReturnValues") == "ALL_OLD" and old is not None else {}
    return {**returned, **consumed(call, mode)}


def _insert(database: Database, statement: Mapping[str, Any]) -> tuple[Table, Write] | ApiError:
    """Return what an INSERT writes, or the error that becomes its answer."""
    try:
        name, attributes = parse_insert(statement.get("Statement", ""))
        item = insert_item(attributes, statement)
        size = check_item(item)
        table = database.table(name, named=True)
        return table, Write(table.schema.check_put(item, batch=False), item, size)
    except ApiError as error:
        return error


def _error(error: ApiError) -> dict[str, Any]:
    """Spell an error as one statement's. Source: botocore's model, BatchStatementErrorCodeEnum."""
    code = error.code.removesuffix("Exception")
    code = {"Validation": "ValidationError", "Throttling": "ThrottlingError"}.get(code, code)
    return {"Error": {"Code": code, "Message": error.message}}
