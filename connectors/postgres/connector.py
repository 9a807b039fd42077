"""PostgreSQL as the table of sources has it."""

from connectors.postgres.section import PostgresSection
from engine.contracts.source import Source, SourceTicket
from engine.job.model import Job
from engine.registry import SourceConnector


async def _open(job: Job, since: str | None, ticket: SourceTicket | None) -> Source:
    from connectors.postgres.source import open_source

    section = job.source
    assert isinstance(section, PostgresSection), "the table of sources goes by type"
    return await open_source(section, since=since, ticket=ticket)


CONNECTOR = SourceConnector(PostgresSection, _open)
