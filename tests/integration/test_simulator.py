"""The simulator over real sockets: what a client meets when things go wrong, and how it counts."""

import asyncio
import json
import socket
import subprocess
import sys
import urllib.request
import zlib
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ChecksumError, ConnectionClosedError, ReadTimeoutError

from bench import servers
from connectors.dynamodb.http.endpoint import parse_endpoint
from connectors.dynamodb.http.sigv4 import Keys, Signer
from connectors.dynamodb.http.transport import Answer, Transport, TransportError

BILLING = {"BillingMode": "PAY_PER_REQUEST"}
TABLE = {
    "TableName": "orders",
    "AttributeDefinitions": [{"AttributeName": "PK", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "PK", "KeyType": "HASH"}],
    **BILLING,
}


@pytest.fixture
def endpoint() -> Iterator[str]:
    """A simulator of its own, since these tests change what it does."""
    with servers.simulator("--unlimited") as url:
        yield url


def client(url: str, **config: Any) -> Any:
    once = Config(retries={"total_max_attempts": 1}, **config)
    return boto3.client("dynamodb", region_name="us-east-1", endpoint_url=url, config=once)


def control(url: str, path: str, **body: Any) -> Any:
    data = json.dumps(body).encode() if body else None
    with urllib.request.urlopen(f"{url}/_control/{path}", data=data) as answer:
        return json.load(answer)


def put(*keys: str) -> dict[str, Any]:
    return {"orders": [{"PutRequest": {"Item": {"PK": {"S": key}}}} for key in keys]}


def keys(url: str) -> set[str]:
    return {item["PK"]["S"] for item in client(url).scan(TableName="orders")["Items"]}


class OneSigner:
    def __init__(self, url: str) -> None:
        self.endpoint = parse_endpoint(url, "us-east-1")
        self._signer = Signer(Keys("local", "local"), "us-east-1", self.endpoint.authority)

    async def signer(self) -> Signer:
        return self._signer


async def send(
    url: str, operation: str, *requests: Any, timeout_s: float = 100.0
) -> list[Answer | BaseException]:
    """Send requests side by side through the engine's own transport."""
    signer = OneSigner(url)
    transport = Transport(signer.endpoint, signer, connections_max=16, answer_timeout_s=timeout_s)
    try:
        sent = [transport.send(operation, [json.dumps(request).encode()]) for request in requests]
        return await asyncio.gather(*sent, return_exceptions=True)
    finally:
        await transport.close()


@pytest.mark.parametrize("fault", ["reset_before", "reset_after", "truncated"])
async def test_a_cut_answer_is_a_connection_error_and_leaves_what_it_says(endpoint: str, fault: str) -> None:
    client(endpoint).create_table(**TABLE)
    control(endpoint, "faults", rates={fault: 1.0})
    [answer] = await send(endpoint, "BatchWriteItem", {"RequestItems": put("a")})
    assert isinstance(answer, TransportError)
    assert answer.sent
    with pytest.raises((ConnectionClosedError, ChecksumError)):
        client(endpoint).batch_write_item(RequestItems=put("b"))
    control(endpoint, "faults", rates={})
    assert keys(endpoint) == (set() if fault == "reset_before" else {"a", "b"})
    assert control(endpoint, "statistics")["requests"]["BatchWriteItem"] == {fault: 2}


@pytest.mark.parametrize("fault", ["silent_before", "silent_after", "late"])
async def test_an_answer_that_does_not_come_in_time(endpoint: str, fault: str) -> None:
    client(endpoint).create_table(**TABLE)
    control(endpoint, "faults", rates={fault: 1.0}, late_s=60.0)
    [answer] = await send(endpoint, "BatchWriteItem", {"RequestItems": put("a")}, timeout_s=1.0)
    assert isinstance(answer, TransportError)
    with pytest.raises(ReadTimeoutError):
        client(endpoint, read_timeout=1.0).batch_write_item(RequestItems=put("b"))
    control(endpoint, "faults", rates={})
    assert keys(endpoint) == (set() if fault == "silent_before" else {"a", "b"})
    [again] = await send(endpoint, "BatchWriteItem", {"RequestItems": put("a")})
    assert isinstance(again, Answer)
    assert control(endpoint, "statistics")["tables"]["orders"]["overlaps"] == 0  # they had hung up before


async def test_a_late_answer_comes_and_overlapping_writes_are_seen(endpoint: str) -> None:
    client(endpoint).create_table(**TABLE)
    control(endpoint, "latency", median_ms=1_000)  # the four are sent within one's time
    answers = await send(
        endpoint, "BatchWriteItem", *[{"RequestItems": put(key)} for key in ("a", "b", "a", "c")]
    )
    assert [answer.status for answer in answers if isinstance(answer, Answer)] == [200] * 4
    assert control(endpoint, "statistics")["tables"]["orders"]["overlaps"] == 1


async def test_many_clients_and_large_requests(endpoint: str) -> None:
    client(endpoint).create_table(**TABLE)
    big = {"RequestItems": {"orders": []}}
    for number in range(25):
        item = {"PK": {"S": f"big{number}"}, "pad": {"S": "x" * 390_000}}
        big["RequestItems"]["orders"].append({"PutRequest": {"Item": item}})
    small = [{"RequestItems": put(f"k{number}")} for number in range(200)]
    answers = await send(endpoint, "BatchWriteItem", big, *small)
    assert [answer.status for answer in answers if isinstance(answer, Answer)] == [200] * 201


async def test_a_request_over_16_mb_is_too_large(endpoint: str) -> None:
    [answer] = await send(endpoint, "BatchWriteItem", {"RequestItems": {}, "pad": "x" * 16 * 1024 * 1024})
    assert isinstance(answer, Answer)
    assert answer.status == 413


def test_answers_carry_their_checksum_and_come_in_order(endpoint: str) -> None:
    def request(body: bytes) -> bytes:
        head = (
            "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: AWS4 x\r\nX-Amz-Target: DynamoDB_20120810.{}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.format("ListTables").encode() + body

    host, _, port = endpoint.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(request(b"{}") + request(b"{") + request(b'{"Limit":1}'))
        text = b""
        while text.count(b"HTTP/1.1") < 3 or not text.endswith(b"}"):
            text += raw.recv(65536)
    answers = [each.partition(b"\r\n\r\n") for each in text.split(b"HTTP/1.1 ")[1:]]
    assert [head[:3] for head, _, _ in answers] == [b"200", b"400", b"200"]
    for head, _, body in answers:
        assert f"x-amz-crc32: {zlib.crc32(body)}".encode() in head


def test_boto3_gets_through_random_faults(endpoint: str) -> None:
    client(endpoint).create_table(**TABLE)
    rates = {"unprocessed": 0.05, "500": 0.03, "503": 0.02, "reset_before": 0.02, "reset_after": 0.02}
    control(endpoint, "faults", rates=rates, seed=11)
    table = boto3.resource("dynamodb", region_name="us-east-1", endpoint_url=endpoint).Table("orders")
    with table.batch_writer() as writer:
        for number in range(500):
            writer.put_item(Item={"PK": str(number)})
    control(endpoint, "faults", rates={})
    assert keys(endpoint) == {str(number) for number in range(500)}


async def test_the_null_mode_counts_every_item_however_it_arrives(null_target: str) -> None:
    def counts() -> dict[str, int]:
        with urllib.request.urlopen(f"{null_target}/counts") as answer:
            told: dict[str, int] = json.load(answer)
            return told

    before = counts()
    item = {"PK": {"S": "p"}, "SK": {"S": 'a "PutRequest" inside'}}
    batch = [{"PutRequest": {"Item": item}}] * 20 + [{"DeleteRequest": {"Key": item}}] * 5
    statements = [{"Statement": "INSERT", "Parameters": [{"S": "x" * 300_000}]}] * 25
    answers = [
        *await send(null_target, "BatchWriteItem", *[{"RequestItems": {"t": batch}}] * 40),
        *await send(null_target, "PutItem", {"Item": item}),
        *await send(null_target, "BatchExecuteStatement", {"Statements": statements}),
    ]
    assert all(isinstance(answer, Answer) and answer.status == 200 for answer in answers)
    last = answers[-1]
    assert isinstance(last, Answer)
    assert len(json.loads(last.body)["Responses"]) == 25
    after = counts()
    assert after["items"] - before["items"] == 40 * 25 + 1 + 25
    assert after["requests"] - before["requests"] == 42
    assert after["bytes"] - before["bytes"] > 25 * 300_000
    described = client(null_target).describe_table(TableName="anything")["Table"]
    assert [key["AttributeName"] for key in described["KeySchema"]] == ["PK", "SK"]


def test_the_null_mode_takes_a_request_in_pieces(null_target: str) -> None:
    body = b'{"RequestItems":{"t":[{"PutRequest":{}},{"PutRequest":{}}]}}'
    text = (
        b"POST / HTTP/1.1\r\nX-Amz-Target: D.BatchWriteItem\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    host, _, port = null_target.removeprefix("http://").partition(":")
    with urllib.request.urlopen(f"{null_target}/counts") as answer:
        before = json.load(answer)["items"]
    with socket.create_connection((host, int(port))) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(text), 7):
            raw.sendall(text[at : at + 7])
        assert b"UnprocessedItems" in raw.recv(65536)
    with urllib.request.urlopen(f"{null_target}/counts") as answer:
        assert json.load(answer)["items"] - before == 2


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, "-m", "engine", "simulator", *arguments]
    return subprocess.run(whole, capture_output=True, text=True, check=False, timeout=30)


def test_the_command_says_when_it_cannot_serve(endpoint: str) -> None:
    port = endpoint.rpartition(":")[2]
    ended = command("--port", port)
    assert ended.returncode == 2
    assert ended.stderr.startswith("backfill: error: can't listen on 127.0.0.1:" + port)
    assert "choose another --port" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fault", "meteor=0.1"], "there is no fault meteor"),
        (["--fault", "500"], "isn't FAULT=RATE"),
        (["--wcu", "5", "--unlimited"], "exclude each other"),
        (["--rcu", "5"], "--rcu goes with --wcu"),
    ],
)
def test_options_that_make_no_sense_are_a_sentence(arguments: list[str], said: str) -> None:
    ended = command(*arguments)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert said in ended.stderr
