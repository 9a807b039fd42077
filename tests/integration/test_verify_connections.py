"""verify of more jobs than the source has connections for: it says what helps, and that helps."""

import asyncio
from pathlib import Path

from tests.support import loads
from tests.support.command import Command
from tests.support.own_postgres import embedded_binaries, own_postgres
from tests.support.pg import execute

JOBS, CONNECTIONS = 9, 6
ROWS = 20


def test_more_jobs_than_connections_are_verified_one_by_one(
    dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    names = [f"t{number}" for number in range(JOBS)]
    few = (f"max_connections={CONNECTIONS}", "superuser_reserved_connections=0")
    with own_postgres(embedded_binaries(), "pgserver", *few) as server:
        rows = f"SELECT n AS id FROM generate_series(1, {ROWS}) n"
        tables = [f"CREATE TABLE {name} AS {rows}" for name in names]
        keys = [f"ALTER TABLE {name} ADD PRIMARY KEY (id)" for name in names]
        asyncio.run(execute(server.url(), *tables, *keys))
        loads.create_table(dynoxide, table_name)
        made = loads.job(server.url(), dynoxide, table_name)
        url, target = made["source"]["url"], made["target"]
        jobs = [
            {
                "name": name,
                "source": {"type": "postgres", "url": url, "table": name},
                "items": [{"name": "Row", "key": {"PK": name.upper() + "#{id}", "SK": "ROW"}}],
            }
            for name in names
        ]
        command = Command(tmp_path, {"jobs": jobs, "target": target})
        assert command.here("run", "--workers", "1").code == 0
        ended = command.here("verify", "--full", "--json")
        assert ended.code == 1, ended.stderr
        assert f"all {JOBS} jobs write to one table" in ended.stderr
        assert "with --only NAME" in ended.stderr
        one = command.here("verify", "--full", "--json", "--only", names[-1])
        assert one.code == 0, one.stderr
        assert (one.report["matched"], one.report["not_ours"]) == (ROWS, (JOBS - 1) * ROWS)
