"""MongoDB as the table of sources has it."""

from collections.abc import Mapping, Sequence

from connectors.mongodb.section import MongoDBSection
from engine.contracts.documents import DocumentCodec
from engine.contracts.feed import LogUser
from engine.contracts.source import Source, SourceTicket
from engine.contracts.starter import SourceStarter, Starter
from engine.job.model import Job
from engine.registry import SourceConnector, SourceLog


async def _open(job: Job, since: str | None, ticket: SourceTicket | None, codec: DocumentCodec) -> Source:
    from connectors.mongodb.source import open_source
    from engine.rules.fields import wanted_fields

    return await open_source(_section(job), wanted_fields(job), since=since, ticket=ticket, codec=codec)


async def _open_again(job: Job, since: str | None, views: Sequence[str], codec: DocumentCodec) -> Source:
    from connectors.mongodb.source import open_source
    from engine.rules.fields import wanted_fields

    return await open_source(_section(job), wanted_fields(job), since=since, codec=codec, views=views)


async def _look(url: str, options: Mapping[str, str | None]) -> Starter:
    from connectors.mongodb.starter import look

    return await look(url, options)


async def _standing(job: Job, users: Sequence[LogUser]) -> tuple[str, int | None]:
    del users  # the server keeps it for everybody
    from connectors.mongodb.logged import standing

    return await standing(_section(job)), None


async def _let_go(job: Job) -> Sequence[str]:
    return (f"MongoDB keeps its log for everybody: nothing is kept for {job.name} that could be let go",)


def _section(job: Job) -> MongoDBSection:
    assert isinstance(job.source, MongoDBSection), "the table of sources goes by type"
    return job.source


STARTER = SourceStarter(("mongodb://", "mongodb+srv://"), "mongodb://user:password@host/database", _look)
CONNECTOR = SourceConnector(MongoDBSection, _open, STARTER, SourceLog(_standing, _let_go), _open_again)
