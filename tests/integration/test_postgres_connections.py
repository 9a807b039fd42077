"""A source that gives one connection is read on that one; what a run needs is said, and bounded on wish."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from connectors.postgres.readers import ALONE
from connectors.postgres.section import PostgresSection
from connectors.postgres.source import open_source
from engine.batch import Cursor, Segment
from engine.commands.run.crew import Crew, crew
from engine.errors import RetriesExhausted, TransientError
from tests.integration.test_redrive import job
from tests.support import pg
from tests.support.command import Command

TABLE = (
    "CREATE TABLE people AS SELECT n AS id, 'u' || n AS email, n AS age FROM generate_series(1, 3000) AS n"
)


async def role(url: str, limit: int) -> str:
    """Make a role with a limit of connections, and return its URL."""
    name = f"narrow_{urlsplit(url).path[1:]}"
    await pg.execute(
        url, TABLE, "ALTER TABLE people ADD PRIMARY KEY (id)",
        f"CREATE ROLE {name} LOGIN CONNECTION LIMIT {limit}", f"GRANT SELECT ON people TO {name}",
    )  # fmt: skip
    return url.replace("postgres@", f"{name}@")


@pytest.mark.parametrize("said", [None, 1])
async def test_one_connection_is_enough(postgres_url: str, said: int | None) -> None:
    url = await role(postgres_url, 1)
    async with pg.opened(url, table="people", max_connections=said) as source:
        assert source.ticket.cursors_max == 1
        segments = await source.segments(4)
        both = await asyncio.gather(*(pg.batches(source, segment) for segment in segments))
        assert sum(batch.rows.num_rows for each in both for batch in each) == 3000
        reading = source.read(segments[0], None)
        await anext(reading)
        await reading.aclose()
        assert await source.count(60) == 3000
        assert sum([batch.rows.num_rows async for batch in source.sample(100, 3000)]) > 0
        keys = [*await source.sample_keys(5, 1), Cursor(("x",))]
        found = [batch.rows.num_rows async for batch in source.rows_by_key(keys[:-1])]
        assert sum(found) == 5
        assert "snapshot is gone" not in " ".join(source.notices)


async def test_a_limit_that_others_have_used_up_is_made_do_with(postgres_url: str) -> None:
    url = await role(postgres_url, 2)
    async with pg.opened(url, table="people") as other, pg.opened(url, table="people") as source:
        assert other.ticket.cursors_max == 1
        assert len(await pg.rows(source, 3)) == 3000
        assert ALONE in source.notices
        reading = source.read(Segment(0, None, None, None), None)
        await anext(reading)
        with pytest.raises(TransientError, match="two connections"):
            async for _ in source.rows_by_key([Cursor(("1",))]):
                pass
        await reading.aclose()


async def test_a_pooler_that_lets_a_second_one_wait_is_made_do_with(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pg.execute(postgres_url, TABLE, "ALTER TABLE people ADD PRIMARY KEY (id)")
    asked = []

    async def waits(*_: object) -> None:
        asked.append("BEGIN")
        raise TimeoutError

    async with pg.opened(postgres_url, table="people") as source:
        monkeypatch.setattr("connectors.postgres.readers.server_identity", waits)
        assert len(await pg.rows(source, 3)) == 3000
        assert ALONE in source.notices
        assert len(asked) == 1, "not at each segment again"


async def test_a_worker_that_finds_no_room_says_what_is_needed(postgres_url: str) -> None:
    url = await role(postgres_url, 1)
    async with pg.opened(url, table="people") as source:
        worker = await open_source(
            PostgresSection(type="postgres", url=url, table="people"), ticket=source.ticket, patience_s=0.2
        )
        with pytest.raises(
            RetriesExhausted, match=r"too many connections for role .* source\.max_connections"
        ):
            await pg.batches(worker, Segment(0, None, None, None))
        (notice,) = worker.notices
        assert "raise the limit" in notice
        await worker.close()


@pytest.mark.parametrize(
    ("most", "expected"), [(None, (4, 2)), (1, (1, 1)), (3, (3, 1)), (4, (4, 1)), (7, (4, 1)), (8, (4, 2))]
)
def test_workers_and_cursors_share_the_connections(most: int | None, expected: tuple[int, int]) -> None:
    assert crew(4, 2, most) == Crew(*expected)


def test_a_whole_run_with_one_connection(
    postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    url = asyncio.run(role(postgres_url, 1))
    command = Command(tmp_path, job(url, dynoxide, table_name, {"type": "sqlite"}))
    assert command.here("table create").code == 0
    assert command.here("plan").code == 0
    ended = command.here("run", "--workers", "2")
    assert ended.code == 0, ended.stderr
    assert command.here("verify", "--full").code == 0
