"""Sources that the conformance suite is run for: how each is filled with numbered rows, opened and read.

A connector of your own passes the suite by one more class here and its name in `SUBJECTS`.
"""

import sqlite3
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Protocol

from connectors.mongodb.source import open_source as open_mongodb
from connectors.postgres.section import PostgresSection
from connectors.postgres.source import open_source as open_postgres
from engine.batch import Batch, Cursor, Segment
from engine.contracts.source import Source, SourceTicket
from engine.documents.plain import PLAIN
from engine.job.model import Job
from engine.registry import SOURCES
from engine.rules.fields import wanted_fields
from tests.support.mongo_source import fill, job
from tests.support.pg import execute
from tests.support.toy_source import DRAWERS, ToySource, ToySourceSection

DOCS = Path(__file__).parents[2] / "docs" / "connectors.md"
BATCH_ROWS = 7
"""Few, so that a source of some dozen rows has several batches."""


class Subject(Protocol):
    """A kind of source under test. `keeps_view`: what is written after it was opened isn't read."""

    keeps_view: bool

    async def fill(self, count: int) -> None:
        """Make the source anew, with rows that are numbered from 1 to `count`."""

    async def add(self, number: int) -> None:
        """Add one row to it."""

    async def open(self, ticket: SourceTicket | None = None) -> Source:
        """Open it, as a worker does where a ticket is given."""

    def number(self, row: Mapping[str, Any]) -> int:
        """Return the number of a row."""

    unknown: Cursor | None
    """A key that no row has; None where there are no keys."""


@dataclass(slots=True)
class Postgres:
    """A table, read by its primary key, by a key that repeats, or without one."""

    url: str
    key: tuple[str, ...] | None
    table: str
    keeps_view: bool = True

    @property
    def unknown(self) -> Cursor | None:
        return None if self.table == "v" else Cursor(("-5",))

    async def fill(self, count: int) -> None:
        await execute(
            self.url,
            "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, third int NOT NULL)",
            "CREATE VIEW v AS SELECT n FROM t ORDER BY n",
            f"INSERT INTO t SELECT n, n, n / 3 FROM generate_series(1, {count}) AS n",
            "ANALYZE t",
        )

    async def add(self, number: int) -> None:
        await execute(self.url, f"INSERT INTO t VALUES ({number}, {number}, {number // 3})")

    async def open(self, ticket: SourceTicket | None = None) -> Source:
        section = PostgresSection(
            type="postgres", url=self.url, table=self.table, key=self.key, batch_rows=BATCH_ROWS
        )
        return await open_postgres(section, ticket=ticket)

    def number(self, row: Mapping[str, Any]) -> int:
        return int(row["n"])


@dataclass(slots=True)
class MongoDB:
    """A collection whose `_id`s are numbers, or of two types."""

    url: str
    database: str
    mixed: bool
    keeps_view: bool = True

    @property
    def job(self) -> Job:
        return job(self.url, self.database, batch_rows=BATCH_ROWS)

    @property
    def unknown(self) -> Cursor:
        return Cursor(('{"$numberInt":"-5"}' if self.mixed else "-5",))

    def document(self, number: int) -> dict[str, Any]:
        # Texts come behind numbers in MongoDB's order, and zeros keep theirs.
        return {"_id": f"{number:06d}" if self.mixed and number > 20 else number, "n": number}

    async def fill(self, count: int) -> None:
        await fill(self.url, self.database, [self.document(n) for n in range(1, count + 1)])

    async def add(self, number: int) -> None:
        from pymongo import AsyncMongoClient

        async with AsyncMongoClient(self.url) as client:
            await client[self.database].c.insert_one(self.document(number))

    async def open(self, ticket: SourceTicket | None = None) -> Source:
        return await open_mongodb(self.job.source, wanted_fields(self.job), ticket=ticket)  # type: ignore[arg-type]

    def number(self, row: Mapping[str, Any]) -> int:
        return int(row["n"]["wire"])


@dataclass(slots=True)
class Documented:
    """The source of docs/connectors.md: a table of SQLite."""

    path: Path
    keeps_view: bool = False
    unknown: Cursor | None = None

    async def fill(self, count: int) -> None:
        with closing(sqlite3.connect(self.path)) as db, db:
            db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n TEXT)")
            db.executemany("INSERT INTO t VALUES (?, ?)", ((n, f"n{n}") for n in range(1, count + 1)))

    async def add(self, number: int) -> None:
        with closing(sqlite3.connect(self.path)) as db, db:
            db.execute("INSERT INTO t VALUES (?, ?)", (number, f"n{number}"))

    async def open(self, ticket: SourceTicket | None = None) -> Source:
        section = {"type": "sqlite", "path": str(self.path), "table": "t", "batch_rows": BATCH_ROWS}
        job = SimpleNamespace(source=SOURCES["sqlite"].section.model_validate(section))
        return await SOURCES["sqlite"].open(job, None, ticket, PLAIN)  # type: ignore[arg-type]

    def number(self, row: Mapping[str, Any]) -> int:
        assert row["n"] == f"n{row['id']}"
        return int(row["id"])


@dataclass(slots=True)
class Toy:
    """The source in memory of the tests' toy connectors."""

    drawer: str
    keeps_view: bool = False

    @property
    def unknown(self) -> Cursor:
        return Cursor(("-5",))

    async def fill(self, count: int) -> None:
        DRAWERS[self.drawer] = []
        for number in range(1, count + 1):
            await self.add(number)

    async def add(self, number: int) -> None:
        row = {"id": str(number), "tenant": "t", "amount": "1", "note": None}
        DRAWERS[self.drawer].append(row)

    async def open(self, ticket: SourceTicket | None = None) -> Source:
        return ToySource(ToySourceSection(type="toy", drawer=self.drawer, batch_rows=BATCH_ROWS))

    def number(self, row: Mapping[str, Any]) -> int:
        return int(row["id"])


@contextmanager
def documented(role: str) -> Iterator[None]:
    """Register the connector that the docs show for a role."""
    text = DOCS.read_text(encoding="utf-8").partition(f"<!-- example: {role} -->\n```python\n")[2]
    code = text.partition("\n```")[0]
    assert code, f"docs/connectors.md has no example of a {role}"
    module = ModuleType(f"documented_{role}")
    sys.modules[module.__name__] = module  # pydantic looks the names of annotations up there
    try:
        exec(compile(code, str(DOCS), "exec"), module.__dict__)
        yield
    finally:
        SOURCES.remove("sqlite")
        del sys.modules[module.__name__]


@asynccontextmanager
async def opened(subject: Subject, ticket: SourceTicket | None = None) -> AsyncIterator[Source]:
    """Open a source and close it at the end."""
    source = await subject.open(ticket)
    try:
        yield source
    finally:
        await source.close()


async def batches(source: Source, segment: Segment, after: Cursor | None = None) -> list[Batch]:
    """Read to the end."""
    async with aclosing(source.read(segment, after)) as reading:
        return [batch async for batch in reading]


async def numbers(subject: Subject, found: AsyncGenerator[Batch, None] | list[Batch]) -> list[int]:
    """Return the numbers of rows in the order of batches."""
    parts = found if isinstance(found, list) else [batch async for batch in found]
    return [subject.number(row) for batch in parts for row in batch.rows.to_pylist()]
