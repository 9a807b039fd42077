"""What a plan says of the two ways to catch up, and of how much of its log PostgreSQL would keep."""

import asyncio
import re
from pathlib import Path

import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.logged import LOG, TABLE, logs
from tests.support.own_postgres import OwnPostgres
from tests.support.pg import execute

FOREVER = "by the log, which tells of deletes and changed keys, it could as well (source.catch_up)"


@pytest.fixture
def command(logged_database: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    asyncio.run(execute(logged_database, *TABLE, "ALTER TABLE t ADD at timestamptz DEFAULT now()"))
    return Command(tmp_path, loads.job(logged_database, dynoxide, table_name))


def said(command: Command) -> str:
    ended = command.here("plan", "--json")
    assert ended.code == 0, ended.stderr
    return str(ended.report["catch_up"])


def test_what_a_job_goes_by_and_what_it_could_go_by(
    command: Command, database: str, logical_postgres: OwnPostgres
) -> None:
    assert said(command) == f"none: there is no source.watermark; {FOREVER}"
    command.job["source"]["watermark"] = "at"
    assert said(command) == f"by source.watermark at; {FOREVER}"
    assert logs(command) == (0, 0), "only looked at"
    assert FOREVER.split(",")[0] in " ".join(command.here("plan").stdout.split())
    command.job["items"][0]["key"] = {"PK": "V#{v}", "SK": "ID#{id}"}
    assert "it can't yet: the log doesn't tell id, v of rows of public.t" in said(command)
    command.job["target"]["mode"] = "insert"
    assert "it can't yet: changes from the log need target.mode put or newer" in said(command)
    command.job["target"]["mode"] = "put"
    command.job["items"][0]["key"] = {"PK": "ROW#{id}", "SK": "ROW"}
    role, url = f"r_{database}", command.job["source"]["url"]
    rights = f"GRANT SELECT ON t TO {role}", f"GRANT pg_read_all_stats TO {role}"
    asyncio.run(execute(url, f"CREATE ROLE {role} LOGIN PASSWORD 'p'", *rights))
    try:
        command.job["source"]["url"] = f"postgresql://{role}:p@127.0.0.1:{logical_postgres.port}/{database}"
        assert f'have this run by whoever may: ALTER ROLE "{role}" REPLICATION; CREATE PUBL' in said(command)
    finally:
        asyncio.run(execute(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}"))


def test_how_much_of_the_log_is_kept_is_told_with_its_basis(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command.job["source"]["catch_up"] = LOG
    assert "doesn't tell how fast it grows" in said(command) or "on average" in said(command)
    monkeypatch.setattr("connectors.postgres.asking.LOG_COUNTED_MIN_S", 0.0)
    assert re.fullmatch(
        r"by the log, of which the server keeps [\d.,]+ .?B for a full run of .*, [\d.,]+ .?B for a day"
        r" between runs \(by what it wrote in all since 20\d\d-.*Z, on average\);"
        r" by source\.watermark it could only where a column says when a row last changed",
        said(command),
    ), said(command)


def test_where_a_run_would_be_refused_nothing_is_said_to_be_free(command: Command) -> None:
    command.job["source"]["catch_up"] = LOG
    command.job["items"][0]["key"] = {"PK": "V#{v}", "SK": "ID#{id}"}
    planned = command.here("plan", "--json")
    assert planned.code == command.here("run").code == 2
    report = planned.report
    assert report["refused"]
    assert any(warning.startswith("It can't run as it is: ") for warning in report["warnings"])
    assert report["advice"] == ["Mend what a run is refused for, as the warning says, then plan again."]


def test_what_is_read_besides_where_several_rows_may_make_one_item_is_told(command: Command) -> None:
    command.job["source"]["catch_up"] = LOG
    command.job["items"][0]["key"] = {"PK": "V#{v}", "SK": "V"}
    asyncio.run(execute(command.job["source"]["url"], "ALTER TABLE t REPLICA IDENTITY FULL"))
    told = "each catch-up run reads the rows that share v with a changed one, too."
    scanned = "No index of t begins with v, so it is scanned at every thousand changes"
    warnings = "\n".join(command.here("plan", "--json").report["warnings"])
    assert told in warnings
    assert scanned in warnings
    asyncio.run(execute(command.job["source"]["url"], "CREATE INDEX ON t (v)"))
    warnings = "\n".join(command.here("plan", "--json").report["warnings"])
    assert told in warnings
    assert scanned not in warnings
