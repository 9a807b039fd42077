"""PostgreSQL as the table of sources has it."""

from collections.abc import Mapping, Sequence

from connectors.postgres.section import PostgresSection
from engine.contracts.documents import DocumentCodec
from engine.contracts.feed import LogUser
from engine.contracts.source import Source, SourceTicket
from engine.contracts.starter import SourceStarter, Starter
from engine.job.model import Job
from engine.registry import SourceConnector, SourceLog


async def _open(job: Job, since: str | None, ticket: SourceTicket | None, codec: DocumentCodec) -> Source:
    from connectors.postgres.source import open_source

    return await open_source(_section(job), since=since, ticket=ticket, codec=codec)


async def _open_again(job: Job, since: str | None, views: Sequence[str], codec: DocumentCodec) -> Source:
    from connectors.postgres.source import open_source

    return await open_source(_section(job), since=since, codec=codec, views=views)


async def _look(url: str, options: Mapping[str, str | None]) -> Starter:
    from connectors.postgres.starter import look

    return await look(url, options)


async def _standing(job: Job, users: Sequence[LogUser]) -> tuple[str, int | None]:
    from connectors.postgres.log_told import standing

    return await standing(_section(job), users)


async def _let_go(job: Job) -> Sequence[str]:
    from connectors.postgres.keep_log import let_go

    return await let_go([_section(each) for each in (job, *job.log_mates)])


def _section(job: Job) -> PostgresSection:
    assert isinstance(job.source, PostgresSection), "the table of sources goes by type"
    return job.source


STARTER = SourceStarter(("postgresql://", "postgres://"), "postgresql://user:password@host/database", _look)
CONNECTOR = SourceConnector(PostgresSection, _open, STARTER, SourceLog(_standing, _let_go), _open_again)
