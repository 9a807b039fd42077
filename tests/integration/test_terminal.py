"""Nothing of a source, a target or a job file steers the terminal of whoever looks at it."""

import asyncio
import contextlib
import io
import json
import re
from pathlib import Path

import pytest
import yaml

from engine.cli.options import Invocation
from engine.cli.program import answer
from tests.support import loads
from tests.support.command import Command, Ended
from tests.support.pg import execute

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\u2066\u2028\r"
"""A title, a wiped screen, a colour by C1, a turned direction of writing, an end of line."""
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f]")
TABLE = f"t {EVIL}"


@pytest.fixture
def command(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    asyncio.run(
        execute(
            postgres_url,
            f'CREATE TABLE "{TABLE}" (id text PRIMARY KEY, "n{EVIL}" numeric, v text)',
            f"INSERT INTO \"{TABLE}\" VALUES ('a{EVIL}', 'NaN', 'x'), ('b{EVIL}', 1, '{EVIL}')",
        )
    )
    job = loads.job(postgres_url, dynoxide, table_name, source={"table": f'"{TABLE}"'})
    job["items"][0]["name"] = f"Row{EVIL}"
    return Command(tmp_path, job)


def assert_obeyed_by_none(done: Ended, code: int) -> None:
    assert done.code == code, done.stderr
    for text in (done.stdout, done.stderr):
        assert OBEYED.findall(text) == []
    assert "\\x1b" in done.stdout + done.stderr


def test_a_load_from_its_plan_to_its_last_dead_letter(command: Command) -> None:
    assert_obeyed_by_none(command.here("plan"), 4)
    assert_obeyed_by_none(command.here("run"), 3)
    assert OBEYED.findall(command.here("status").stdout) == []
    target = command.job["target"]
    for place in loads.items(target["endpoint_url"], target["table"]):
        partition, sort = place.rsplit("|", 1)
        loads.client(target["endpoint_url"]).update_item(
            TableName=target["table"],
            Key={"PK": {"S": partition}, "SK": {"S": sort}},
            UpdateExpression="SET v = :v",
            ExpressionAttributeValues={":v": {"S": f"else{EVIL}"}},
        )
    assert_obeyed_by_none(command.here("verify", "--full"), 4)
    assert command.here("redrive").code == 3


def test_json_stays_json(command: Command) -> None:
    done = command.here("plan", "--json")
    assert OBEYED.findall(done.stdout) == []
    assert TABLE in json.loads(done.stdout)["source"]["reads"]


def test_errors_of_the_job_file_and_of_the_server(command: Command) -> None:
    command.job["source"]["where"] = f'"no such{EVIL}" = 1'
    assert_obeyed_by_none(command.here("plan"), 2)
    command.job["source"] = {**command.job["source"], f"tabel{EVIL}": 1}
    assert_obeyed_by_none(command.here("plan"), 2)


def test_a_starter_job_is_harmless_and_reads_the_names_back(command: Command) -> None:
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        code = answer(["init", command.job["source"]["url"], "--table", f'"{TABLE}"'], Invocation())
    assert code == 0, stderr.getvalue()
    assert OBEYED.findall(stdout.getvalue()) == []
    assert TABLE in yaml.safe_load(stdout.getvalue())["source"]["table"]
