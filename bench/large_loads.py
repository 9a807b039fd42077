"""Loads of the sizes that people have, once each: narrow rows by the ten million, documents by the million.

Invariant: what is loaded is what was counted; one process, into the null target.
"""

import asyncio
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from bench import compare, documents, measure, mongod, servers, shapes

DATABASE, TABLE = "large", "narrow"
COLLECTION, MAKE, RULES = documents.KINDS["flat orders"]
ROWS = "CREATE TABLE narrow AS SELECT g AS id, g % 7 AS n FROM generate_series(1, {rows}) AS g"


def run(server: str, sizes: compare.Sizes, tell: compare.Tell) -> dict[str, Any]:
    """Load both; a part of `make bench`."""
    return {
        "narrow rows": _told("narrow rows", _rows(server, sizes.narrow_rows), tell),
        "flat documents": _told("flat documents", _documents(sizes.many_documents), tell),
    }


def job(url: str, endpoint: str) -> dict[str, Any]:
    """Return the job file that loads the narrow rows whole."""
    return {
        "name": TABLE,
        "source": {"type": "postgres", "url": url, "table": TABLE},
        "target": {"type": "dynamodb", "table": TABLE, "region": "us-east-1", "endpoint_url": endpoint},
        "items": [shapes.rule()],
    }


def _rows(server: str, rows: int) -> measure.RunSample:
    servers.execute(server, f"CREATE DATABASE {DATABASE}")
    url = servers.database_url(server, DATABASE)
    try:
        for statement in (
            ROWS.format(rows=rows),
            f"ALTER TABLE {TABLE} ADD PRIMARY KEY (id)",
            "VACUUM ANALYZE",
        ):
            servers.execute(url, statement)
        return measure.load(partial(job, url), rows)
    finally:
        servers.execute(server, f"DROP DATABASE {DATABASE} WITH (FORCE)")


def _documents(count: int) -> measure.RunSample:
    with (
        tempfile.TemporaryDirectory(prefix="backfill-bench-mongo-") as place,
        mongod.mongod(Path(place) / "data") as url,
    ):
        asyncio.run(documents.fill(url, COLLECTION, MAKE, count))
        return measure.load(partial(documents.job, url, COLLECTION, RULES), count * len(RULES))


def _told(what: str, took: measure.RunSample, tell: compare.Tell) -> dict[str, Any]:
    tell(compare.line(what, took))
    return {"rows": took.rows, **compare.summary([took])}
