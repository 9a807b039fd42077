"""The policies in deploy/iam allow what each command calls, and nothing else."""

import asyncio
import http.client
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.pg import execute

POLICIES = Path(__file__).parents[2] / "deploy" / "iam"
ACTIONS = {"BatchExecuteStatement": {"PartiQLInsert"}, "TransactWriteItems": {"PutItem", "UpdateItem"}}
"""What a call needs where that isn't the action of its name. Source: Service Authorization Reference."""
OPTIONAL = {"dynamodb:DescribeContinuousBackups", "dynamodb:DescribeTimeToLive"}
"""Asked, and gone without where it is denied."""


class Recorder:
    """Hands every call on to a server, and keeps the names of the operations by table."""

    def __init__(self, endpoint: str) -> None:
        self.called: dict[str, set[str]] = {}
        place, called = urlsplit(endpoint).netloc, self.called

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                operation = self.headers["X-Amz-Target"].rpartition(".")[2]
                for table in tables_of(json.loads(body or b"{}")):
                    called.setdefault(table, set()).add(operation)
                onward = http.client.HTTPConnection(place)
                kept = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                onward.request("POST", "/", body, {**kept, "Host": place})
                answer = onward.getresponse()
                content = answer.read()
                onward.close()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("content-length", "connection", "transfer-encoding", "date"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def taken(self, table: str) -> set[str]:
        """Return the actions that calls about a table needed, and forget them."""
        operations = self.called.pop(table, set())
        return {f"dynamodb:{action}" for name in operations for action in ACTIONS.get(name, {name})}


def tables_of(request: dict[str, Any]) -> set[str]:
    """Return the tables that a request is about."""
    found = {request["TableName"]} if "TableName" in request else set()
    found |= set(request.get("RequestItems", {}))
    for action in request.get("TransactItems", []):
        found |= {each["TableName"] for each in action.values()}
    for statement in request.get("Statements", []):
        found.add(statement["Statement"].split('"')[1])
    return found


@pytest.fixture
def recorder(dynoxide: str) -> Iterator[Recorder]:
    recorder = Recorder(dynoxide)
    yield recorder
    recorder.server.shutdown()
    recorder.server.server_close()


def allowed(name: str) -> set[str]:
    policy = json.loads((POLICIES / f"{name}.json").read_text())
    assert policy["Version"] == "2012-10-17"
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        assert "*" not in json.dumps(statement), "an action or a table too many"
    return {action for statement in policy["Statement"] for action in statement["Action"]}


def assert_fits(called: set[str], name: str) -> None:
    policy = allowed(name)
    assert called - policy - OPTIONAL == set(), f"{name}.json lacks these"
    assert policy - called - OPTIONAL == set(), f"{name}.json has these too many"


@pytest.fixture
def command(postgres_url: str, recorder: Recorder, table_name: str, tmp_path: Path) -> Command:
    value = "CASE n WHEN 7 THEN 'NaN' ELSE n::numeric END"
    rows = f"INSERT INTO t SELECT n, {value}, 1 FROM generate_series(1, 60) n"
    asyncio.run(execute(postgres_url, "CREATE TABLE t (id int PRIMARY KEY, v numeric, version int)", rows))
    create = {"partition_key": "PK", "sort_key": "SK"}
    job = loads.job(postgres_url, recorder.url, table_name, target={"create": create})
    job["items"][0]["delete_when"] = "id = 9"
    return Command(tmp_path, job)


def test_each_command_has_the_smallest_policy(command: Command, recorder: Recorder, table_name: str) -> None:
    url = command.job["source"]["url"]
    command.job["target"]["create"] |= {"pitr": True, "tags": {"team": "shop"}}
    assert command.here("table create").code == 0
    assert_fits(recorder.taken(table_name) | {"dynamodb:TagResource"}, "table-create")
    assert command.here("plan").code == 4
    assert_fits(recorder.taken(table_name), "plan")
    assert command.here("run").code == 3
    assert_fits(recorder.taken(table_name), "run")
    asyncio.run(execute(url, "UPDATE t SET v = 7 WHERE id = 7", "UPDATE t SET v = 8.5 WHERE id = 8"))
    assert command.here("verify", "--full", "--read", "scan").code == 4
    full = recorder.taken(table_name)
    assert command.here("verify", "--sample", "20").code in (0, 4)
    assert_fits(full | recorder.taken(table_name), "verify")
    assert command.here("verify", "--full", "--repair").code == 0
    assert_fits(recorder.taken(table_name) | full, "verify-repair")
    asyncio.run(execute(url, "UPDATE t SET v = 7 WHERE id = 7"))
    assert command.here("redrive").code == 0
    assert_fits(recorder.taken(table_name), "redrive")


@pytest.mark.parametrize("mode", ["insert", "newer"])
def test_modes_have_their_own(
    command: Command, recorder: Recorder, dynoxide: str, table_name: str, mode: str
) -> None:
    loads.create_table(dynoxide, table_name)
    command.job["target"] |= {"mode": mode} | ({"version": "version"} if mode == "newer" else {})
    if mode == "insert":
        del command.job["items"][0]["delete_when"]
    assert command.here("run").code == 3
    assert_fits(recorder.taken(table_name), f"run-{mode}")


def test_so_has_state_in_a_table(
    command: Command, recorder: Recorder, dynoxide: str, table_name: str
) -> None:
    loads.create_table(dynoxide, table_name)
    state = f"{table_name}-state"
    command.job["state"] = {
        "type": "dynamodb",
        "table": state,
        "region": "us-east-1",
        "endpoint_url": recorder.url,
    }
    assert command.here("run").code == 3
    assert command.here("status").code == 3
    assert command.here("redrive").code in (0, 3)
    assert command.here("run", "--fresh").code == 3
    assert_fits(recorder.taken(state), "state")
