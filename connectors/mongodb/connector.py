"""MongoDB as the table of sources has it."""

from collections.abc import Mapping

from connectors.mongodb.section import MongoDBSection
from engine.contracts.documents import DocumentCodec
from engine.contracts.source import Source, SourceTicket
from engine.contracts.starter import SourceStarter, Starter
from engine.job.model import Job
from engine.registry import SourceConnector


async def _open(job: Job, since: str | None, ticket: SourceTicket | None, codec: DocumentCodec) -> Source:
    from connectors.mongodb.source import open_source
    from engine.rules.fields import wanted_fields

    section = job.source
    assert isinstance(section, MongoDBSection), "the table of sources goes by type"
    return await open_source(section, wanted_fields(job), since=since, ticket=ticket, codec=codec)


async def _look(url: str, options: Mapping[str, str | None]) -> Starter:
    from connectors.mongodb.starter import look

    return await look(url, options)


STARTER = SourceStarter(("mongodb://", "mongodb+srv://"), "mongodb://user:password@host/database", _look)
CONNECTOR = SourceConnector(MongoDBSection, _open, STARTER)
