"""The simulator without its server: throttling as DynamoDB words it, and what faults leave behind."""

from typing import Any

import orjson
import pytest

from bench.simulator.control import control
from bench.simulator.faults import FaultPlan, Rates
from bench.simulator.latency import Latency
from bench.simulator.service import Reply, Service
from bench.simulator.settings import Capacity, Model

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/orders"
UNITS = {"WriteCapacityUnits": 10, "ReadCapacityUnits": 10}


class Client:
    """Calls a service at moments that the test sets."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.now = 0.0

    def reply(self, operation: str, **request: Any) -> Reply:
        return self.service.handle(operation, orjson.dumps(request), signed=True, now=self.now, wall=1.0)

    def __call__(self, operation: str, **request: Any) -> tuple[int, dict[str, Any]]:
        reply = self.reply(operation, **request)
        return reply.status, orjson.loads(reply.body)

    def control(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        reply = control(self.service, method, "/_control/" + path, orjson.dumps(body), self.now)
        assert reply.status == 200, reply.body
        answer: dict[str, Any] = orjson.loads(reply.body)
        return answer

    def create(self, **more: Any) -> None:
        status, answer = self(
            "CreateTable",
            **{
                "TableName": "orders",
                "AttributeDefinitions": [{"AttributeName": "PK", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "PK", "KeyType": "HASH"}],
                "BillingMode": "PAY_PER_REQUEST",
                **more,
            },
        )
        assert status == 200, answer

    def put(self, *keys: str, **more: Any) -> tuple[int, dict[str, Any]]:
        return self("BatchWriteItem", **batch(*keys), **more)


def batch(*keys: str, **attributes: Any) -> dict[str, Any]:
    puts = [{"PutRequest": {"Item": {"PK": {"S": key}, **attributes}}} for key in keys]
    return {"RequestItems": {"orders": puts}}


@pytest.fixture
def client() -> Client:
    return Client(Service(model=Model(burst_s=0)))


def keys(start: int, count: int) -> list[str]:
    return [f"k{number}" for number in range(start, start + count)]


def test_what_a_table_has_no_units_for_comes_back_and_then_nothing_goes(client: Client) -> None:
    client.create(BillingMode="PROVISIONED", ProvisionedThroughput=UNITS)
    status, answer = client.put(*keys(0, 25), ReturnConsumedCapacity="TOTAL")
    assert status == 200
    assert answer["ConsumedCapacity"] == [{"TableName": "orders", "CapacityUnits": 10.0}]
    left = answer["UnprocessedItems"]["orders"]
    assert [each["PutRequest"]["Item"]["PK"]["S"] for each in left] == keys(10, 15)
    status, answer = client.put(*keys(10, 15))
    assert status == 400
    assert answer == {
        "__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
        "message": "The level of configured provisioned throughput for the table was exceeded. "
        "Consider increasing your provisioning level with the UpdateTable API.",
        "ThrottlingReasons": [{"reason": "TableWriteProvisionedThroughputExceeded", "resource": ARN}],
    }
    client.now = 1.0
    assert client.put(*keys(10, 10)) == (200, {"UnprocessedItems": {}})


def test_a_starved_index_is_named(client: Client) -> None:
    client.create(
        BillingMode="PROVISIONED",
        ProvisionedThroughput={"WriteCapacityUnits": 100, "ReadCapacityUnits": 1},
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("PK", "G")],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "gsi",
                "KeySchema": [{"AttributeName": "G", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
                "ProvisionedThroughput": {"WriteCapacityUnits": 1, "ReadCapacityUnits": 1},
            }
        ],
    )
    assert client.put(*keys(0, 25)) == (200, {"UnprocessedItems": {}})  # none of them is in the index
    request = batch(*keys(100, 3), G={"S": "g"})
    _, answer = client("BatchWriteItem", **request, ReturnConsumedCapacity="INDEXES")
    assert len(answer["UnprocessedItems"]["orders"]) == 2
    assert answer["ConsumedCapacity"] == [
        {
            "TableName": "orders",
            "CapacityUnits": 2.0,
            "Table": {"CapacityUnits": 1.0},
            "GlobalSecondaryIndexes": {"gsi": {"CapacityUnits": 1.0}},
        }
    ]
    _, answer = client("BatchWriteItem", **batch(*keys(101, 2), G={"S": "g"}))
    assert answer["ThrottlingReasons"] == [
        {"reason": "IndexWriteProvisionedThroughputExceeded", "resource": f"{ARN}/index/gsi"}
    ]
    assert "global secondary indexes" in answer["message"]


def test_on_demand_and_the_accounts_quota_have_exceptions_of_their_own() -> None:
    client = Client(Service(forced=Capacity(warm_write=1_000, warm_read=3_000)))
    client.create()
    large = {"pad": {"S": "x" * 400_000}}
    answers = [client("BatchWriteItem", **batch(key, **large)) for key in keys(0, 4)]
    short = [answer for status, answer in answers if status != 200]
    assert len(short) == 1
    assert short[0]["__type"].endswith("#ThrottlingException")
    assert short[0]["throttlingReasons"][0]["reason"] == "TableWriteKeyRangeThroughputExceeded"

    client = Client(Service(model=Model(account_write=1)))
    client.create()
    client.put("a")
    _, answer = client.put("b")
    assert answer["__type"].endswith("#RequestLimitExceeded")
    assert answer["ThrottlingReasons"][0]["reason"] == "TableWriteAccountLimitExceeded"


def test_inserts_are_throttled_one_by_one(client: Client) -> None:
    client.create(BillingMode="PROVISIONED", ProvisionedThroughput={**UNITS, "WriteCapacityUnits": 2})
    statement = "INSERT INTO \"orders\" VALUE {'PK':?}"
    _, answer = client(
        "BatchExecuteStatement",
        Statements=[{"Statement": statement, "Parameters": [{"S": key}]} for key in keys(0, 3)],
    )
    codes = [(each.get("Error") or {}).get("Code") for each in answer["Responses"]]
    assert codes == [None, None, "ProvisionedThroughputExceeded"]


def test_reads_are_throttled_too(client: Client) -> None:
    client.create(BillingMode="PROVISIONED", ProvisionedThroughput={**UNITS, "ReadCapacityUnits": 1})
    client.put("a")
    wanted = {"TableName": "orders", "Key": {"PK": {"S": "a"}}, "ConsistentRead": True}
    assert client("GetItem", **wanted)[0] == 200
    status, answer = client("GetItem", **wanted)
    assert status == 400
    assert answer["ThrottlingReasons"][0]["reason"] == "TableReadProvisionedThroughputExceeded"
    assert client("Scan", TableName="orders")[0] == 400


def test_a_refused_request_writes_nothing_and_costs_nothing(client: Client) -> None:
    client.create()
    status, _ = client("BatchWriteItem", **batch("good", ""))
    assert status == 400
    [table] = client.control("GET", "statistics")["tables"].values()
    assert (table["items"], table["writes"], table["seconds"]) == (0, 0, [])


@pytest.mark.parametrize(
    ("fault", "status", "applied", "ending"),
    [
        ("throttled", 400, False, "whole"),
        ("500", 500, False, "whole"),
        ("503", 503, False, "whole"),
        ("reset_before", 500, False, "reset"),
        ("silent_before", 500, False, "silent"),
        ("reset_after", 200, True, "reset"),
        ("silent_after", 200, True, "silent"),
        ("truncated", 200, True, "truncated"),
        ("late", 200, True, "whole"),
    ],
)
def test_a_fault_applies_what_it_says(
    client: Client, fault: str, status: int, applied: bool, ending: str
) -> None:
    client.create()
    client.service.plan = FaultPlan(Rates({fault: 1.0}, late_s=9.0), seed=1)
    reply = client.reply("BatchWriteItem", **batch("a"))
    assert (reply.status, reply.ending) == (status, ending)
    assert reply.delay_s == (9.0 if fault == "late" else 0.0)
    assert client.control("GET", "statistics")["tables"]["orders"]["items"] == applied
    assert client("DescribeTable", TableName="orders")[0] == 200  # tables themselves are spared


def test_items_are_left_by_rate_and_the_same_for_a_seed() -> None:
    def left(seed: int) -> list[int]:
        client = Client(Service(rates=Rates({"unprocessed": 0.2}), seed=seed))
        client.create()
        answers = [client.put(*keys(25 * number, 25))[1] for number in range(20)]
        return [len(answer["UnprocessedItems"].get("orders", [])) for answer in answers]

    assert left(3) == left(3)
    assert left(3) != left(4)
    assert sum(left(3)) == pytest.approx(100, abs=40)


def test_the_journal_tells_what_was_written_how_often_and_in_what_order(client: Client) -> None:
    client.create()
    client.now = 1.5
    client.put("a", "b")
    client.now = 2.5
    client.put("a")
    client("DeleteItem", TableName="orders", Key={"PK": {"S": "b"}})
    journal = client.control("GET", "journal?table=orders")
    assert [(entry["key"]["PK"]["S"], entry["at_s"], entry["delete"]) for entry in journal["entries"]] == [
        ("a", 1.5, False),
        ("b", 1.5, False),
        ("a", 2.5, False),
        ("b", 2.5, True),
    ]
    assert client.control("GET", "journal?table=orders&start=3&limit=5")["entries"][0]["sequence"] == 3
    table = client.control("GET", "statistics?table=orders")["tables"]["orders"]
    assert (table["items"], table["writes"], table["deletes"], table["keys"]) == (1, 4, 1, 2)
    assert table["keys_by_writes"] == {"2": 2}
    assert [second["writes"] for second in table["seconds"]] == [2, 2]


def test_capacity_offered_and_used_is_told_by_second(client: Client) -> None:
    client.create(BillingMode="PROVISIONED", ProvisionedThroughput=UNITS)
    client.control("POST", "capacity", table="orders", write=4, in_s=1.0)
    for second in range(3):
        client.now = float(second)
        client.put(*keys(100 * second, 20))
    seconds = client.control("GET", "statistics")["tables"]["orders"]["seconds"]
    told = [(each["write"]["table"]["offered"], each["write"]["table"]["used"]) for each in seconds]
    assert told == [(10, 10), (4, 4), (4, 4)]
    assert [each["write"]["table"]["throttled"] for each in seconds] == [10, 16, 16]


def test_two_writes_of_one_key_in_flight_together_are_found(client: Client) -> None:
    client.create()
    client.service.latency = Latency.of_ms(5)
    first = client.reply("BatchWriteItem", **batch("a", "b"))
    for table, key in first.touched:
        table.hold([key])
    client.reply("BatchWriteItem", **batch("b", "c"))
    for table, key in first.touched:
        table.release([key])
    client.reply("BatchWriteItem", **batch("a", "b"))
    assert client.control("GET", "statistics")["tables"]["orders"]["overlaps"] == 1


def test_a_reset_forgets_counts_and_saved_capacity_but_keeps_items() -> None:
    client = Client(Service())
    client.create(BillingMode="PROVISIONED", ProvisionedThroughput=UNITS)
    client.now = 100.0
    client.put("a")
    client.control("POST", "reset")
    statistics = client.control("GET", "statistics")
    assert statistics["requests"] == {}
    assert (statistics["tables"]["orders"]["items"], statistics["tables"]["orders"]["writes"]) == (1, 0)
    _, answer = client.put(*keys(0, 25))
    assert len(answer["UnprocessedItems"]["orders"]) == 15  # of 100 s saved, one is left
    client.control("POST", "reset", tables=True)
    assert client.control("GET", "statistics")["tables"] == {}


def test_every_table_takes_what_the_command_line_says() -> None:
    client = Client(Service(forced=Capacity(write=7, read=3)))
    client.create()
    described = client("DescribeTable", TableName="orders")[1]["Table"]
    assert described["ProvisionedThroughput"]["WriteCapacityUnits"] == 7
    assert "BillingModeSummary" not in described


def test_a_table_can_be_changed_and_warmed(client: Client) -> None:
    client.create()
    for change, write, warm in (
        ({"WarmThroughput": {"WriteUnitsPerSecond": 9_000}}, 0, 9_000),
        ({"BillingMode": "PROVISIONED", "ProvisionedThroughput": UNITS}, 10, 10),
        ({"BillingMode": "PAY_PER_REQUEST"}, 0, 9_000),
    ):
        status, _ = client("UpdateTable", TableName="orders", **change)
        assert status == 200
        described = client("DescribeTable", TableName="orders")[1]["Table"]
        assert described["ProvisionedThroughput"]["WriteCapacityUnits"] == write
        assert described["WarmThroughput"]["WriteUnitsPerSecond"] == warm


def test_an_index_made_later_holds_what_was_there(client: Client) -> None:
    client.create()
    client("BatchWriteItem", **batch("a", G={"S": "g"}))
    index = {
        "IndexName": "late",
        "KeySchema": [{"AttributeName": "G", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"]},
    }
    status, _ = client(
        "UpdateTable",
        TableName="orders",
        AttributeDefinitions=[{"AttributeName": "G", "AttributeType": "S"}],
        GlobalSecondaryIndexUpdates=[{"Create": index}],
    )
    assert status == 200
    found = client(
        "Query",
        TableName="orders",
        IndexName="late",
        KeyConditionExpression="G = :g",
        ExpressionAttributeValues={":g": {"S": "g"}},
    )[1]
    assert found["Items"] == [{"PK": {"S": "a"}, "G": {"S": "g"}}]
    client("UpdateTable", TableName="orders", GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "late"}}])
    assert "GlobalSecondaryIndexes" not in client("DescribeTable", TableName="orders")[1]["Table"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"RequestItems":5}', b'{"RequestItems":{"orders":[5]}}', b'{"a":"\\ud800"}']
)
def test_bodies_that_are_no_request_are_refused(client: Client, body: bytes) -> None:
    client.create()
    reply = client.service.handle("BatchWriteItem", body, signed=True, now=0.0, wall=0.0)
    assert reply.status == 400
    assert b"Exception" in reply.body


def test_a_request_without_a_signature_is_refused(client: Client) -> None:
    reply = client.service.handle("ListTables", b"{}", signed=False, now=0.0, wall=0.0)
    assert b"MissingAuthenticationTokenException" in reply.body


def test_control_says_what_it_knows_and_what_is_wrong(client: Client) -> None:
    reply = control(client.service, "GET", "/_control/nonsense", b"", 0.0)
    assert reply.status == 404
    assert b"GET /_control/statistics" in reply.body
    for path, body in (
        ("capacity", b'{"table":"none-such"}'),
        ("faults", b'{"rates":{"meteor":1}}'),
        ("latency", b"{}"),
        ("model", b'{"nonsense":1}'),
    ):
        reply = control(client.service, "POST", f"/_control/{path}", body, 0.0)
        assert reply.status == 400, path
        assert orjson.loads(reply.body)["error"]
