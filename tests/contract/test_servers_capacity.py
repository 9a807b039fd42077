"""What reads and writes cost: where the servers agree, the simulator agrees with them."""

import base64
from collections.abc import Mapping
from math import ceil
from typing import Any

import pytest

from bench.simulator.values import check_item
from tests.support.server_items import item

SIZES: Mapping[str, dict[str, Any]] = {
    "digits": {"N": "123456789.5"},
    "trailing zeros": {"N": "120000"},
    "negative": {"N": "-12"},
    "zero": {"N": "0"},
    "small": {"N": "0.0012"},
    "odd": {"N": "12345.67"},
    "pair over the point": {"N": "1.5"},
    "pair before it": {"N": "15"},
    "text": {"S": "aé😀"},
    "binary": {"B": b"\x00\x01\x02"},
    "list": {"L": [{"S": "a"}, {"L": []}, {"NULL": True}]},
    "map": {"M": {"näme": {"BOOL": False}, "m": {"M": {}}}},
    "sets": {"M": {"s": {"SS": ["a", "bcé"]}, "n": {"NS": ["1", "-22.5"]}, "b": {"BS": [b"abc"]}}},
}


@pytest.mark.parametrize("what", SIZES)
def test_a_kilobyte_is_counted_to_the_byte(client: Any, table: str, what: str) -> None:
    """The simulator's own arithmetic tells where each server's write units step up."""
    base = check_item(as_wire(item("pad", v=SIZES[what], p={"S": ""})))
    for excess, units in ((0, 1.0), (1, 2.0)):
        padded = item(f"{excess}ad", v=SIZES[what], p={"S": "x" * (1_024 - base + excess)})
        answer = client.put_item(TableName=table, Item=padded, ReturnConsumedCapacity="TOTAL")
        assert answer["ConsumedCapacity"]["CapacityUnits"] == units


def as_wire(value: Any) -> Any:
    """Return an item with its binaries as they travel."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: as_wire(each) for name, each in value.items()}
    return [as_wire(each) for each in value] if isinstance(value, list) else value


def test_the_larger_item_and_every_touched_index_are_charged(client: Any, table: str) -> None:
    def units(**attributes: Any) -> tuple[float, float]:
        answer = client.put_item(TableName=table, Item=item(**attributes), ReturnConsumedCapacity="INDEXES")
        told = answer["ConsumedCapacity"]
        index = told.get("GlobalSecondaryIndexes", {}).get("gsi", {}).get("CapacityUnits", 0.0)
        assert told["CapacityUnits"] == told["Table"]["CapacityUnits"] + index
        return told["Table"]["CapacityUnits"], index

    pad = {"S": "x" * 2_500}
    large = ceil(2_600 / 1_024)
    assert units(pad=pad) == (large, 0)
    assert units() == (large, 0)  # the old one was large
    assert units() == (1, 0)
    assert units(G={"S": "g"}, H={"N": "1"}) == (1, 1)
    assert units(G={"S": "g"}, H={"N": "2"}) == (1, 2)  # out of the old place, into the new one
    assert units() == (1, 1)


def test_reads_cost_by_four_kilobytes_and_half_when_they_may_be_stale(client: Any, table: str) -> None:
    client.put_item(TableName=table, Item=item(pad={"S": "x" * 5_000}))
    costs = [
        client.get_item(
            TableName=table, Key=item(), ConsistentRead=consistent, ReturnConsumedCapacity="TOTAL"
        )["ConsumedCapacity"]["CapacityUnits"]
        for consistent in (True, False)
    ]
    assert costs == [2.0, 1.0]
    scanned = client.scan(TableName=table, ReturnConsumedCapacity="TOTAL")
    assert scanned["ConsumedCapacity"]["CapacityUnits"] == 1.0
