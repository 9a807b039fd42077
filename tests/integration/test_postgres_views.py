"""A view that outlives the runner: kept by another session, read again by whoever goes on, never mistaken."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg
import pytest

from connectors.dynamodb.documents.codec import DOCUMENTS
from connectors.postgres.opening import PostgresView
from connectors.postgres.section import PostgresSection
from connectors.postgres.session import Exported
from connectors.postgres.source import GOES_ON, SAME_VIEW, PostgresSource, open_source
from engine.batch import Segment
from engine.contracts.source import SourceTicket, ViewLost
from engine.plain import dumped, loaded
from tests.support.pg import batches, execute, rows

pytestmark = pytest.mark.asyncio

WHOLE = Segment(0, None, None, None)
THEN = [{"id": str(n), "v": "then"} for n in range(1, 101)]


@asynccontextmanager
async def source_of(
    url: str, *, ticket: SourceTicket | None = None, views: tuple[str, ...] = ()
) -> AsyncIterator[PostgresSource]:
    section = PostgresSection(type="postgres", url=url, table="t")
    source = await open_source(section, ticket=ticket, codec=DOCUMENTS, views=views)
    try:
        yield source
    finally:
        await source.close()


@pytest.fixture
async def url(postgres_url: str) -> str:
    await execute(
        postgres_url,
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t SELECT n, 'then' FROM generate_series(1, 100) AS n",
        "ANALYZE t",
    )
    return postgres_url


async def moves_on(url: str) -> None:
    await execute(
        url,
        "UPDATE t SET v = 'now'",
        "DELETE FROM t WHERE id > 90",
        "INSERT INTO t VALUES (1000, 'now')",
    )


async def test_a_view_that_a_worker_holds_is_read_by_the_next_runner(url: str) -> None:
    async with source_of(url) as first:
        assert not first.abilities.same_view
        ticket, own, standing = first.ticket, first.abilities.view, first.standing
        worker = await open_source(
            PostgresSection(type="postgres", url=url, table="t"), ticket=ticket, codec=DOCUMENTS
        )
        assert worker.abilities.hold_view is not None
        held = await worker.abilities.hold_view()
    await moves_on(url)
    assert own is not None
    async with source_of(url, views=(own, held)) as second:
        assert second.abilities.same_view
        await worker.close()  # from here on the second keeps it
        assert await second.misfit(standing, goes_on=True) is None
        assert (SAME_VIEW in second.notices, GOES_ON in second.notices) == (True, False)
        assert await rows(second, 3) == THEN
        async with source_of(url, ticket=second.ticket) as another:
            assert [row for part in await batches(another, WHOLE) for row in part.rows.to_pylist()] == THEN


async def test_a_view_that_nobody_keeps_is_gone_and_a_new_one_is_read(url: str) -> None:
    async with source_of(url) as first:
        own, standing = first.abilities.view, first.standing
    await moves_on(url)
    assert own is not None
    async with source_of(url, views=("of another version", own)) as second:
        assert not second.abilities.same_view
        assert await second.misfit(standing, goes_on=True) is None
        assert GOES_ON in second.notices
        assert len(await rows(second)) == 91


async def test_a_name_that_was_given_again_is_not_the_view(url: str) -> None:
    """A server that was restarted, or a standby, may export another snapshot under that name."""
    async with source_of(url) as first:
        view = loaded(PostgresView, first.ticket.details)
        assert view.snapshot is not None
        other = Exported(view.snapshot.name, "3:3:")
        async with source_of(url, views=(dumped(other),)) as second:
            assert not second.abilities.same_view
        details = dumped(replace(view, snapshot=other, kept=True))
        async with source_of(url, ticket=replace(first.ticket, details=details)) as worker:
            with pytest.raises(ViewLost):
                await batches(worker, WHOLE)
            assert worker.abilities.hold_view is not None
            with pytest.raises(ViewLost):
                await worker.abilities.hold_view()


async def test_what_holds_a_view_keeps_its_table_as_it_is(url: str) -> None:
    async with source_of(url) as first:
        ticket = first.ticket
        worker = await open_source(
            PostgresSection(type="postgres", url=url, table="t"), ticket=ticket, codec=DOCUMENTS
        )
        assert worker.abilities.hold_view is not None
        await worker.abilities.hold_view()
    with pytest.raises(asyncpg.LockNotAvailableError):
        await execute(url, "SET lock_timeout = '50ms'; TRUNCATE t")
    await worker.close()
    await execute(url, "SET lock_timeout = '5s'; TRUNCATE t")
