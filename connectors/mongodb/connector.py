"""MongoDB as the table of sources has it."""

from connectors.mongodb.section import MongoDBSection
from engine.contracts.source import Source, SourceTicket
from engine.job.model import Job
from engine.registry import SourceConnector


async def _open(job: Job, since: str | None, ticket: SourceTicket | None) -> Source:
    from connectors.mongodb.source import open_source
    from engine.rules.fields import wanted_fields

    section = job.source
    assert isinstance(section, MongoDBSection), "the table of sources goes by type"
    return await open_source(section, wanted_fields(job), since=since, ticket=ticket)


CONNECTOR = SourceConnector(MongoDBSection, _open)
