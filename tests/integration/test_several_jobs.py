"""Of several jobs in one file, every command's error names the one that it is of."""

from pathlib import Path

import pytest

from bench import servers
from tests.support import loads
from tests.support.command import Command

ROWS = """
DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reader')
    THEN CREATE ROLE reader LOGIN; END IF; END $$;
CREATE TABLE users (id bigint PRIMARY KEY, name text);
INSERT INTO users VALUES (1, 'a');
CREATE TABLE orders (id bigint PRIMARY KEY, name text);
INSERT INTO orders VALUES (1, 'a'), (2, repeat('x', 500000));
GRANT SELECT ON users, orders TO reader;
"""


@pytest.fixture
def loaded(tmp_path: Path, postgres_url: str, dynoxide: str, table_name: str) -> Command:
    """Two jobs for one table, loaded, of which the second can't be read any more."""
    servers.execute(postgres_url, ROWS)
    loads.create_table(dynoxide, table_name)
    document = loads.job(postgres_url.replace("postgres@", "reader@"), dynoxide, table_name)
    jobs = [
        {
            "name": name,
            "source": {**document["source"], "table": name},
            "items": [{"name": name, "key": {"PK": f"{name}#{{id}}", "SK": "ROW"}, "include": "all"}],
        }
        for name in ("users", "orders")
    ]
    command = Command(tmp_path, {"target": document["target"], "jobs": jobs})
    assert command.here("run", "--workers", "1").code == 3
    servers.execute(postgres_url, "REVOKE SELECT ON orders FROM reader")
    return command


def test_a_missing_grant_names_the_job_that_it_is_for(loaded: Command) -> None:
    for command in ("plan", "run --fresh", "verify", "verify --full", "redrive"):
        ended = loaded.here(*command.split())
        assert ended.code == 2, (command, ended)
        (error,) = [line for line in ended.stderr.splitlines() if "error: " in line]
        assert error.startswith(
            "backfill: error: orders: source.table: permission denied for table orders"
        ), command
        assert "GRANT SELECT" in error


def test_a_table_that_is_gone_names_the_first_job_that_needs_it(loaded: Command, dynoxide: str) -> None:
    table = loaded.job["target"]["table"]
    loads.client(dynoxide).delete_table(TableName=table)
    for command, whose in (("verify", "users"), ("plan", "users"), ("redrive", "orders")):
        ended = loaded.here(command)
        assert f"error: {whose}: target.table: there is no table {table}" in ended.stderr, ended
