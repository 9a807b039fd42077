"""The command `backfill init`: a source's URL in, a starter job file out.

Invariant: nothing of the URL is printed.
"""

import asyncio

from engine.errors import JobError

POSTGRES, MONGODB = ("postgres://", "postgresql://"), ("mongodb://", "mongodb+srv://")


def run(url: str, *, table: str | None, collection: str | None, database: str | None) -> str:
    """Return a job file for a table or a collection. Raises: JobError, PermanentError, TransientError."""
    if url.lower().startswith(POSTGRES):
        if table is None or collection is not None or database is not None:
            raise JobError(
                "--table: say which table of this PostgreSQL database to look at, and nothing else"
            )
        return asyncio.run(_postgres(url, table))
    if url.lower().startswith(MONGODB):
        if collection is None or table is not None:
            raise JobError("--collection: say which collection of this MongoDB server to look at")
        return asyncio.run(_mongodb(url, database, collection))
    raise JobError(
        "URL: it must begin with postgresql:// or mongodb://, such as postgresql://user:password@host/database"
    )


async def _postgres(url: str, table: str) -> str:
    from connectors.postgres.introspect import look_at
    from engine.commands.init.postgres import job_file

    return job_file(await look_at(url, table))


async def _mongodb(url: str, database: str | None, collection: str) -> str:
    from connectors.mongodb.introspect import look_at
    from engine.commands.init.mongodb import job_file

    return job_file(await look_at(url, database, collection))
