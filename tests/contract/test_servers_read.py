"""Queries, scans, batches of keys: where the servers agree, the simulator agrees with them."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.server_items import everything, item, put


def test_a_query_reads_one_partition_in_order(client: Any, table: str) -> None:
    sorts = ["a", "b", "ba", "bz", "c", "é", "😀"]
    client.batch_write_item(RequestItems={table: [put(sort) for sort in reversed(sorts)]})
    client.put_item(TableName=table, Item={"PK": {"S": "other"}, "SK": {"S": "b"}})

    def query(condition: str, **more: Any) -> list[str]:
        values = {":p": {"S": "p"}, ":b": {"S": "b"}, ":c": {"S": "c"}}
        used = {name: value for name, value in values.items() if name in condition}
        pages = client.get_paginator("query").paginate(
            TableName=table, KeyConditionExpression=condition, ExpressionAttributeValues=used, **more
        )
        return [each["SK"]["S"] for page in pages for each in page["Items"]]

    assert query("PK = :p") == sorts
    assert query("PK = :p", ScanIndexForward=False) == sorts[::-1]
    assert query("PK = :p", Limit=2) == sorts
    assert query("PK = :p", Limit=2, ScanIndexForward=False) == sorts[::-1]
    assert query("PK = :p AND begins_with(SK, :b)") == ["b", "ba", "bz"]
    assert query("PK = :p AND SK BETWEEN :b AND :c") == ["b", "ba", "bz", "c"]
    assert query("PK = :p AND SK > :b", ScanIndexForward=False) == ["😀", "é", "c", "bz", "ba"]


def test_an_index_holds_only_items_with_its_key_in_the_order_of_numbers(client: Any, table: str) -> None:
    numbers = ["10", "9", "-1", "0.5", "100"]
    puts = [put(number, G={"S": "g"}, H={"N": number}) for number in numbers]
    client.batch_write_item(RequestItems={table: [*puts, put("without"), put("half", G={"S": "g"})]})
    found = client.query(
        TableName=table,
        IndexName="gsi",
        KeyConditionExpression="G = :g AND H > :low",
        ExpressionAttributeValues={":g": {"S": "g"}, ":low": {"N": "-1"}},
    )
    assert [each["H"]["N"] for each in found["Items"]] == ["0.5", "9", "10", "100"]
    client.delete_item(TableName=table, Key=item("9"))
    assert len(everything(client, table, IndexName="gsi")) == len(numbers) - 1


@pytest.mark.parametrize("segments", [1, 4])
def test_the_segments_of_a_scan_cover_everything_once(client: Any, table: str, segments: int) -> None:
    keys = {f"{number:03d}" for number in range(100)}
    for start in range(0, 100, 25):
        batch = [
            {
                "PutRequest": {
                    "Item": {"PK": {"S": f"{number:03d}"}, "SK": {"S": "s"}, "pad": {"S": "x" * 30_000}}
                }
            }
            for number in range(start, start + 25)
        ]
        client.batch_write_item(RequestItems={table: batch})
    found = [
        each["PK"]["S"]
        for segment in range(segments)
        for each in everything(client, table, Segment=segment, TotalSegments=segments)
    ]
    assert sorted(found) == sorted(keys)
    page = client.scan(TableName=table)
    assert "LastEvaluatedKey" in page
    assert len(page["Items"]) < 40  # a page has 1 MB


def test_batches_of_keys_give_what_is_there(client: Any, table: str) -> None:
    client.batch_write_item(RequestItems={table: [put("a"), put("b", v={"S": "1"})]})
    answer = client.batch_get_item(RequestItems={table: {"Keys": [item("a"), item("b"), item("gone")]}})
    assert sorted(answer["Responses"][table], key=lambda each: each["SK"]["S"]) == [
        item("a"),
        item("b", v={"S": "1"}),
    ]
    with pytest.raises(ClientError, match="duplicates"):
        client.batch_get_item(RequestItems={table: {"Keys": [item("a"), item("a")]}})
