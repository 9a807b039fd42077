"""PostgreSQL as the table of sources has it."""

from collections.abc import Mapping

from connectors.postgres.section import PostgresSection
from engine.contracts.documents import DocumentCodec
from engine.contracts.source import Source, SourceTicket
from engine.contracts.starter import SourceStarter, Starter
from engine.job.model import Job
from engine.registry import SourceConnector


async def _open(job: Job, since: str | None, ticket: SourceTicket | None, codec: DocumentCodec) -> Source:
    from connectors.postgres.source import open_source

    section = job.source
    assert isinstance(section, PostgresSection), "the table of sources goes by type"
    return await open_source(section, since=since, ticket=ticket, codec=codec)


async def _look(url: str, options: Mapping[str, str | None]) -> Starter:
    from connectors.postgres.starter import look

    return await look(url, options)


STARTER = SourceStarter(("postgresql://", "postgres://"), "postgresql://user:password@host/database", _look)
CONNECTOR = SourceConnector(PostgresSection, _open, STARTER)
