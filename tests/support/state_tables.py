"""A job's state in a table of a local DynamoDB, the machines that use it, and what its writes cost."""

import math
from collections import Counter

import boto3

from connectors.dynamodb.state.section import DynamoDBStateSection
from connectors.dynamodb.state.store import open_store

NOW = 1_767_000_000.0
LATER = "2026-01-02T04:00:00.000Z"


class Place:
    """A state table and machines that use it."""

    def __init__(self, endpoint, table, tmp_path):
        self.section = DynamoDBStateSection(type="dynamodb", table=table, endpoint_url=endpoint)
        self.tmp_path = tmp_path
        self.table = boto3.resource("dynamodb", endpoint_url=endpoint).Table(table)

    async def open(self, machine="here", at=NOW):
        return await open_store(self.section, self.tmp_path / machine, "orders", clock=lambda: at)


class Bill:
    """What a store's calls cost by partition key, in write units, and how many there are of each kind."""

    def __init__(self, store):
        self._call, store._table.call = store._table.call, self
        self.units, self.calls = Counter(), Counter()

    async def __call__(self, operation, **body):
        self.calls[operation] += 1
        for kind, action in self._actions(operation, body):
            item = action.get("Item") or action["Key"]
            size = sum(len(name) + len(*value.values()) for name, value in item.items())
            each = 2 if operation == "TransactWriteItems" else 1
            kilobytes = 1 if kind == "ConditionCheck" else math.ceil(size / 1024)
            self.units[item["PK"]["S"]] += each * kilobytes
        return await self._call(operation, **body)

    def _actions(self, operation, body):
        if operation == "TransactWriteItems":
            return [pair for action in body["TransactItems"] for pair in action.items()]
        requests = body.get("RequestItems", {}).values()
        return [pair for some in requests for request in some for pair in request.items()]

    def most(self):
        found, self.units = max(self.units.values()), Counter()
        return found
