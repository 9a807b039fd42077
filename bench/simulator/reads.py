"""The operations that read: single items, batches of keys, queries, parallel scans."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from typing import Any, Final

from bench.simulator import expressions
from bench.simulator.answers import consumed, return_mode, throttled
from bench.simulator.capacity import Charge, Shortage
from bench.simulator.database import Call, Database
from bench.simulator.errors import constraint, invalid, malformed
from bench.simulator.keyconditions import Range, read_range
from bench.simulator.schema import RING, Entry, IndexSchema, Item, Key
from bench.simulator.settings import TABLE
from bench.simulator.table import Table, read_units

PAGE_BYTES_MAX: Final = 1024 * 1024
"""A page of Query or Scan ends with the item that reaches it. Source: API_Query, API_Scan."""
BATCH_KEYS_MAX: Final = 100
"""Source: API_BatchGetItem."""
SEGMENTS_MAX: Final = 1_000_000
"""Source: API_Scan, TotalSegments."""


def get_item(database: Database, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """Read one item."""
    mode = return_mode(request)
    table = database.table(request.get("TableName"))
    key = table.schema.check_key(request.get("Key"))
    names = expressions.Names(request)
    wanted = expressions.projection(request, names)
    names.close()
    if shortage := _pay_item(database, table, key, request, call):
        raise throttled(table, [shortage])
    record = table.items.get(key)
    item = {} if record is None else {"Item": _projected(record.item(), wanted)}
    return {**item, **consumed(call, mode)}


def batch_get_item(database: Database, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """Read up to 100 items by key."""
    mode = return_mode(request)
    wanted = request.get("RequestItems")
    if not wanted:
        raise invalid("The requestItems parameter is required for BatchGetItem")
    if type(wanted) is not dict:
        raise malformed("Unexpected value type in payload")
    for name, part in wanted.items():
        if not part.get("Keys"):
            raise constraint(f"requestItems.{name}.member.keys", "have length greater than or equal to 1")
        if len(part["Keys"]) > BATCH_KEYS_MAX:
            raise constraint(
                f"RequestItems.{name}.member.Keys", f"have length less than or equal to {BATCH_KEYS_MAX}"
            )
    if sum(len(part["Keys"]) for part in wanted.values()) > BATCH_KEYS_MAX:
        raise invalid("Too many items requested for the BatchGetItem call")
    responses: dict[str, list[Item]] = {}
    left: dict[str, dict[str, Any]] = {}
    short: tuple[Table, Shortage] | None = None
    for name, part in wanted.items():
        table = database.table(name)
        keys = [table.schema.check_key(key) for key in part["Keys"]]
        if len(set(keys)) < len(keys):
            raise invalid("Provided list of item keys contains duplicates")
        names = expressions.Names(part)
        attributes = expressions.projection(part, names)
        names.close()
        found = responses.setdefault(table.schema.name, [])
        for key, told in zip(keys, part["Keys"], strict=True):
            shortage = None
            if call.leave() or (shortage := _pay_item(database, table, key, part, call)) is not None:
                left.setdefault(table.schema.name, {**part, "Keys": []})["Keys"].append(told)
                short = short or (shortage and (table, shortage))
            elif (record := table.items.get(key)) is not None:
                found.append(_projected(record.item(), attributes))
    if short is not None and not call.consumed:
        raise throttled(short[0], [short[1]])
    return {"Responses": responses, "UnprocessedKeys": left, **consumed(call, mode, several=True)}


def query(database: Database, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """Read the items of one partition key, or a range of them, in the order of their sort keys."""
    table = database.table(request.get("TableName"))
    index = _index(table, request)
    keys = table.schema.keys if index is None else index.keys
    names = expressions.Names(request)
    condition = expressions.parse(request, "KeyConditionExpression", names)
    if condition is None:
        raise invalid(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."
        )
    wanted = read_range(condition, keys, table.schema.types)
    entries = _entries_of(table, index, wanted, request)
    return _page(database, table, index, request, names, entries, wanted.start[0], call)


def scan(database: Database, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
    """Read everything, or one of several equal segments, in the order of the hashes."""
    table = database.table(request.get("TableName"))
    index = _index(table, request)
    segment, segments = _segment(request)
    first, end = RING * segment // segments, RING * (segment + 1) // segments
    start = _start(table, index, request) or (first,)
    after = "ExclusiveStartKey" in request
    if index is None:
        entries = table.rows(start, after=after)
    else:
        found = table.entries(index)
        entries = iter([each for each in found if (each.key > start if after else each.key >= start)])
    mine = takewhile(lambda entry: entry.key[0] < end, entries)
    return _page(database, table, index, request, expressions.Names(request), mine, start[0], call)


def _page(
    database: Database,
    table: Table,
    index: IndexSchema | None,
    request: Mapping[str, Any],
    names: expressions.Names,
    entries: Iterable[Entry],
    place: int,
    call: Call,
) -> dict[str, Any]:
    """Fill one page, pay for it and say where the next begins."""
    mode = return_mode(request)
    wanted = expressions.projection(request, names)
    condition = expressions.parse(request, "FilterExpression", names)
    names.close()
    limit = request.get("Limit")
    if limit is not None and limit < 1:
        raise constraint("limit", "have value greater than or equal to 1", str(limit))
    read: list[Entry] = []
    size = 0
    full = False
    for entry in entries:
        read.append(entry)
        size += entry.size
        full = size >= PAGE_BYTES_MAX or len(read) == limit
        if full:
            break
    consistent = bool(request.get("ConsistentRead"))
    name = TABLE if index is None else index.name
    if read:
        place = read[0].key[0]
    shortage = database.pay(
        table, [Charge(name, place, read_units(size, consistent=consistent))], "Read", call
    )
    if shortage is not None:
        raise throttled(table, [shortage])
    items = [entry.item for entry in read if expressions.holds(condition, entry.item)]
    answer: dict[str, Any] = {"Count": len(items), "ScannedCount": len(read)}
    if request.get("Select") != "COUNT":
        answer["Items"] = [_projected(item, wanted) for item in items]
    if full:
        shown = (*(() if index is None else index.keys.names), *table.schema.keys.names)
        answer["LastEvaluatedKey"] = {each: read[-1].item[each] for each in shown}
    return {**answer, **consumed(call, mode)}


def _entries_of(
    table: Table, index: IndexSchema | None, wanted: Range, request: Mapping[str, Any]
) -> Iterator[Entry]:
    """Give a query's entries in the order it asks for."""
    start = _start(table, index, request)
    forward = request.get("ScanIndexForward", True)
    if index is not None:
        found = [each for each in table.entries(index) if wanted.holds(each.key)]
        if not forward:
            found.reverse()
        if start is not None:
            found = [each for each in found if (each.key > start if forward else each.key < start)]
        yield from found
    elif forward:
        for entry in table.rows(start or wanted.start, after=start is not None):
            if not wanted.in_partition(entry.key):
                return
            if wanted.holds(entry.key):
                yield entry
    else:
        for entry in table.back_from(start or wanted.beyond):
            if not wanted.in_partition(entry.key):
                return
            if wanted.holds(entry.key):
                yield entry


def _start(table: Table, index: IndexSchema | None, request: Mapping[str, Any]) -> Key | None:
    """Return ExclusiveStartKey as a position in the table or the index."""
    given = request.get("ExclusiveStartKey")
    if given is None:
        return None
    if index is None:
        return table.schema.check_key(given)
    if type(given) is not dict or given.keys() != {*index.keys.names, *table.schema.keys.names}:
        raise invalid("The provided starting key is invalid")
    return index.keys.key(given) + table.schema.keys.key(given)[1:]


def _index(table: Table, request: Mapping[str, Any]) -> IndexSchema | None:
    name = request.get("IndexName")
    if name is None:
        return None
    if name not in table.schema.indexes:
        raise invalid(f"The table does not have the specified index: {name}")
    if request.get("ConsistentRead"):
        raise invalid("Consistent reads are not supported on global secondary indexes")
    return table.schema.indexes[name]


def _segment(request: Mapping[str, Any]) -> tuple[int, int]:
    segment, segments = request.get("Segment"), request.get("TotalSegments")
    if segment is None and segments is None:
        return 0, 1
    if segments is None:
        raise invalid(
            "The TotalSegments parameter is required but was not present in the request when Segment "
            "parameter is present"
        )
    if segment is None:
        raise invalid(
            "The Segment parameter is required but was not present in the request when parameter "
            "TotalSegments is present"
        )
    if not 1 <= segments <= SEGMENTS_MAX:
        raise constraint("totalSegments", f"have value between 1 and {SEGMENTS_MAX}", str(segments))
    if not 0 <= segment < segments:
        raise invalid(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
            f"Segment: {segment} is not less than TotalSegments: {segments}"
        )
    return segment, segments


def _pay_item(
    database: Database, table: Table, key: Key, request: Mapping[str, Any], call: Call
) -> Shortage | None:
    record = table.items.get(key)
    units = read_units(0 if record is None else record.size, consistent=bool(request.get("ConsistentRead")))
    return database.pay(table, [Charge(TABLE, key[0], units)], "Read", call)


def _projected(item: Item, wanted: list[str] | None) -> Item:
    return item if wanted is None else {name: item[name] for name in wanted if name in item}
