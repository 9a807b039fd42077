"""`backfill init`: what it prints loads and runs as it is."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from engine.job.yaml_core import parse_yaml
from tests.support import loads
from tests.support.command import Command
from tests.support.pg import execute

HOSTILE_SQL = 'we.ird ""x"" {y} ${HOME}: #'
"""A column's name as it stands between SQL's quotes."""


def started(url: str, endpoint: str, table_name: str, folder: Path, *arguments: str, monkeypatch: Any) -> str:
    """Print a starter job, run it, and return it."""
    command = Command(folder, {"name": "unused"})
    printed = command_output(command, url, *arguments)
    job = parse_yaml(printed)
    monkeypatch.setenv("SOURCE_URL", url)
    path = folder / "started.yaml"
    path.write_text(printed, encoding="utf-8")
    target = ["--set", f"target.endpoint_url={endpoint}", "--set", "target.region=us-east-1"]
    target += ["--set", f"target.table={table_name}"]
    for words in (["table", "create"], ["run", "--workers", "1", "--state", str(folder / "state")]):
        code, _, complaint = answered(*words, str(path), *target)
        assert code == 0, (complaint, printed)
    assert job["source"]["url"] == "${SOURCE_URL}"
    return printed


def command_output(command: Command, url: str, *arguments: str) -> str:
    code, out, complaint = answered("init", url, *arguments)
    assert code == 0, complaint
    return out


def answered(*arguments: str) -> tuple[int, str, str]:
    import contextlib
    import io

    from engine.cli.options import Invocation
    from engine.cli.program import answer

    out, complaint = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(complaint):
        code = answer(list(arguments), Invocation())
    return code, out.getvalue(), complaint.getvalue()


def test_a_table_with_children_and_a_watermark(
    postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path, monkeypatch: Any
) -> None:
    asyncio.run(
        execute(
            postgres_url,
            "CREATE TABLE orders (id int PRIMARY KEY, email text NOT NULL UNIQUE, total numeric(9,2),"
            " updated_at timestamptz)",
            "CREATE INDEX ON orders (updated_at)",
            "CREATE TABLE lines (order_id int REFERENCES orders, line_no int,"
            " PRIMARY KEY (order_id, line_no))",
            "INSERT INTO orders SELECT g, 'u' || g, g, now() FROM generate_series(1, 30) AS g",
        )
    )
    printed = started(
        postgres_url, dynoxide, table_name, tmp_path, "--table", "orders", monkeypatch=monkeypatch
    )
    assert "  #   lines: {table: public.lines, on: {order_id: id}, order_by: [line_no]}" in printed
    assert "  # watermark: updated_at" in printed
    assert '# GSI1PK: "EMAIL#{email}"' in printed
    found = loads.items(dynoxide, table_name)
    assert found.keys() == {f"ORDERS#{n}|ORDERS" for n in range(1, 31)}
    assert found["ORDERS#7|ORDERS"]["email"] == {"S": "u7"}


def test_the_suggestions_work_once_they_are_uncommented(
    postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    asyncio.run(
        execute(
            postgres_url,
            "CREATE TABLE orders (id int PRIMARY KEY, updated_at timestamptz)",
            "CREATE TABLE lines (order_id int REFERENCES orders, line_no int,"
            " PRIMARY KEY (order_id, line_no))",
            "INSERT INTO orders SELECT g, now() FROM generate_series(1, 3) AS g",
            "INSERT INTO lines SELECT 2, g FROM generate_series(1, 2) AS g",
        )
    )
    printed = command_output(Command(tmp_path, {}), postgres_url, "--table", "orders")
    lines = []
    for line in printed.splitlines():
        for suggestion in ("  # embed:", "  #   lines:", "  # watermark:"):
            if line.startswith(suggestion):
                line = line.replace("# ", "", 1)
        lines.append(line)
    job = parse_yaml("\n".join(lines))
    job["source"]["url"] = postgres_url
    job["target"] |= {"endpoint_url": dynoxide, "region": "us-east-1", "table": table_name}
    command = Command(tmp_path, job)
    assert command.here("table create").code == 0
    ran = command.here("run", "--workers", "1")
    assert ran.code == 0, ran.stderr
    assert len(loads.items(dynoxide, table_name)["ORDERS#2|ORDERS"]["lines"]["L"]) == 2


@pytest.mark.parametrize(
    ("create", "keys"),
    [
        ('CREATE TABLE "T x" ("PK" int, "SK" text, "{q}" text, PRIMARY KEY ("PK", "SK"))', 2),
        (f'CREATE TABLE "T x" ("{HOSTILE_SQL}" int PRIMARY KEY, "EntityType" text)', 2),
        ('CREATE TABLE "T x" (a int NOT NULL, b text NOT NULL, UNIQUE (b, a))', 2),
        ('CREATE TABLE "T x" (a int, b jsonb, c text)', 2),
    ],
    ids=["columns called PK and SK", "a hostile name", "unique, no primary key", "no key at all"],
)
def test_odd_tables(
    postgres_url: str,
    dynoxide: str,
    table_name: str,
    tmp_path: Path,
    monkeypatch: Any,
    create: str,
    keys: int,
) -> None:
    asyncio.run(execute(postgres_url, create))
    printed = started(
        postgres_url, dynoxide, table_name, tmp_path, "--table", '"T x"', monkeypatch=monkeypatch
    )
    assert len(parse_yaml(printed)["items"][0]["key"]) == keys


def test_the_password_is_never_printed(postgres_url: str, tmp_path: Path) -> None:
    asyncio.run(execute(postgres_url, "CREATE TABLE t (id int PRIMARY KEY)"))
    url = postgres_url.replace("postgres@", "postgres:s3cr3t-word@")
    for arguments in (["--table", "t"], ["--table", "gone"], ["--collection", "t"]):
        said = json.dumps(answered("init", url, *arguments))
        assert "s3cr3t-word" not in said


def test_a_collection(
    mongodb_url: str, database: str, dynoxide: str, table_name: str, tmp_path: Path, monkeypatch: Any
) -> None:
    from pymongo import MongoClient

    with MongoClient(mongodb_url) as client:
        client[database]["users"].insert_many(
            [{"_id": n, "name": "x", "tags": ["a"], "score": n if n % 2 else "n/a"} for n in range(40)]
        )
        client.drop_database(f"{database}_other")
    printed = started(
        mongodb_url,
        dynoxide,
        table_name,
        tmp_path,
        "--collection",
        "users",
        "--database",
        database,
        monkeypatch=monkeypatch,
    )
    assert "int 50.0 %" in printed
    assert "for_each: tags" in printed
    assert len(loads.items(dynoxide, table_name)) == 40
