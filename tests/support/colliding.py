"""Tables whose rows make each other's keys, how they change, and what a target must then hold. Random, plain.

Nothing of the engine has a part in what is expected: of the rows that make a key the last one counts, in the
order of their ids, with mode `newer` in that of their versions, with `insert` the first; where a row is gone,
so is the item. Outside stay, as they do for every catch-up run: rows that are deleted, keys that are changed,
and what has been left out of a list.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Protocol
from uuid import uuid4

from pymongo import MongoClient

from bench import servers
from tests.support import loads
from tests.support.command import Command
from tests.support.pg import execute

WATERMARK = {"column": "at", "overlap": "0s"}
SHAPES = ("email", "apart", "list", "two rules")
"""One column; two attributes of the key; a column and a list's elements; two rules that can't meet."""

POOLS: Mapping[str, list[list[str]]] = {
    "text": [["'a'"], ["'A'"], ["'a '"]],
    "varchar(9)": [["'é'"], ["'e'"], ["'%'"]],
    "char(4)": [["'a'", "'a  '"], ["'b'"]],
    "int8": [["1"], ["-1"], ["10"]],
    "numeric": [["1", "1.0", "1.000"], ["2.5", "2.50"], ["100", "1e2"]],
    "float8": [["1.5", "15e-1"], ["1e300"], ["0.1"]],
    "bool": [["true"], ["false"]],
    "bytea": [["'\\x00ff'"], ["'\\x'::bytea || '\\x01'"]],
    "date": [["'2024-01-01'"], ["'infinity'"]],
    "timestamptz": [["'2024-01-01T00:00:00Z'", "'2024-01-01T01:00:00+01'"], ["'2024-01-01T00:00:00.5Z'"]],
    "uuid": [
        ["'00000000-0000-0000-0000-00000000000a'", "'{0000000000000000000000000000000A}'"],
        ["'00000000-0000-0000-0000-00000000000b'"],
    ],
    "interval": [["'1 month'"], ["'30 days'"]],
    "inet": [["'10.0.0.1'", "'10.0.0.1/32'"], ["'10.0.0.1/8'"]],
    "mood": [["'good'"], ["'bad'"]],
}
"""Values of PostgreSQL types, those together that print alike."""
DOCUMENT_VALUES: list[list[Any]] = [[1, "1", 1.0], [2.5, "2.5"], [True, "true"], ["x"]]
"""Values of a field, those together that print alike, whatever their types."""

Row = dict[str, Any]


@dataclass
class Colliding:
    """A table as the test knows it: rows by id. `kind`: the type of the column `email`, `""` in documents.

    `past`: all that an item of a key could ever hold.
    """

    random: Random
    shape: str
    kind: str
    mode: str = "put"
    rows: dict[int, Row] = field(default_factory=dict)
    past: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    versions: Iterator[int] = field(default_factory=count)

    @property
    def pools(self) -> int:
        return len(POOLS[self.kind]) if self.kind else len(DOCUMENT_VALUES)

    def fill(self, count: int) -> None:
        """Make the first rows."""
        for _ in range(count):
            self.insert()

    def insert(self) -> int:
        """Add a row, anywhere in the order of ids."""
        row = self.random.choice([n for n in range(1, 10 * (len(self.rows) + 5)) if n not in self.rows])
        self.rows[row] = {
            "id": row,
            "e": self.random.choice([None, *range(self.pools)]),
            "alike": self.random.randrange(3),
            "region": self.random.choice(["n", "s"]),
            "code": self.random.choice(["n", "s", "n#s"]),
            "tags": self.random.sample(["a", "b", "c"], self.random.randrange(3)),
        }
        self._renew(row, 0.2)
        return row

    def change(self) -> int:
        """Change a row in what stands in no key, or put an element to its list."""
        row = self.random.choice(list(self.rows))
        now = self.rows[row]
        now["tags"] = sorted({*now["tags"], self.random.choice("abc")})
        self._renew(row, 0.3)
        return row

    def turn(self, most: int) -> list[int]:
        """Change and add some rows; return which."""
        count = self.random.randint(1, most)
        return [self.insert() if self.random.random() < 0.3 else self.change() for _ in range(count)]

    def _renew(self, row: int, gone: float) -> None:
        now = self.rows[row]
        now["v"] = f"v{self.random.randrange(10**6)}"
        now["rev"] = next(self.versions)
        now["gone"] = self.mode == "put" and self.random.random() < gone
        for key in self._keys(now):
            self.past.setdefault(key, set()).add((str(row), now["v"]))

    def rules(self) -> list[dict[str, Any]]:
        """Return the item rules."""
        gone = "gone" if self.kind else "gone = 'true'"
        own = "id" if self.kind else "_id"
        attributes = {"of": f"{{{own}}}", "v": "{v}", "rev": "{rev}"}
        email = {
            "name": "Email",
            "key": {"PK": "E#{email}", "SK": "E"},
            "attributes": attributes | {"key": "E {e}"},
            "delete_when": gone,
        }
        apart = email | {
            "name": "Apart",
            "key": {"PK": "R#{region}", "SK": "{code}"},
            "attributes": attributes | {"key": "R {region} {code}"},
        }
        tag = email | {
            "name": "Tag",
            "for_each": "tags",
            "key": {"PK": "T#{email}", "SK": "{each}"},
            "attributes": attributes | {"key": "T {e} {each}"},
        }
        return {"email": [email], "apart": [apart], "list": [tag], "two rules": [email, apart]}[self.shape]

    def expected(self) -> dict[str, tuple[str, str]]:
        """Return the id and the value of each key's item."""
        found: dict[str, tuple[str, str]] = {}
        by = "rev" if self.mode == "newer" else "id"
        rows = sorted(self.rows.values(), key=lambda row: row[by], reverse=self.mode == "insert")
        for row in rows:
            for key in self._keys(row):
                if row["gone"]:
                    found.pop(key, None)
                else:
                    found[key] = (str(row["id"]), row["v"])
        return found

    def _keys(self, row: Row) -> list[str]:
        email = [] if row["e"] is None else [f"E {row['e']}"]
        apart = [f"R {row['region']} {row['code']}"]
        tags = [] if row["e"] is None else [f"T {row['e']} {tag}" for tag in row["tags"]]
        return {"email": email, "apart": apart, "list": tags, "two rules": email + apart}[self.shape]

    def literal(self, row: Row) -> str:
        """Return a row's e-mail as SQL."""
        if row["e"] is None:
            return "NULL"
        alike = POOLS[self.kind][row["e"]]
        return alike[row["alike"] % len(alike)]

    def sql_of(self, rows: Iterable[int], *, long_ago: bool = False) -> list[str]:
        """Return statements that bring rows to a PostgreSQL as they are now; `long_ago`: changed then."""
        at = "'2024-01-01Z'" if long_ago else "clock_timestamp()"
        gone = "DELETE FROM t WHERE id ="
        return [f"{gone} {each}; INSERT INTO t VALUES ({self._values(each)}, {at})" for each in rows]

    def _values(self, row: int) -> str:
        now = self.rows[row]
        tags = ",".join(now["tags"])
        email = "NULL" if now["e"] is None else now["e"]
        return (
            f"{row}, {email}, {self.literal(now)}, '{now['region']}', '{now['code']}', '{{{tags}}}',"
            f" '{now['v']}', {now['gone']}, {now['rev']}"
        )

    def table(self) -> str:
        """Return the statement that makes the table."""
        return (
            "CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TABLE t (id int PRIMARY KEY, e int,"
            f" email {self.kind}, region text, code text, tags text[], v text, gone bool, rev int,"
            " at timestamptz)"
        )

    def document(self, row: int, *, long_ago: bool = False) -> dict[str, Any]:
        """Return a row as a document."""
        now = self.rows[row]
        made = {name: now[name] for name in ("region", "code", "tags", "v", "gone", "rev")}
        if now["e"] is not None:
            alike = DOCUMENT_VALUES[now["e"]]
            made |= {"e": now["e"], "email": alike[now["alike"] % len(alike)]}
        return {"_id": row, **made, "at": datetime(2024, 1, 1, tzinfo=UTC) if long_ago else datetime.now(UTC)}


class Bring(Protocol):
    """Brings rows as they are now to where a job reads them."""

    def __call__(self, rows: Iterable[int], *, long_ago: bool = False) -> None: ...


@contextmanager
def in_postgres(server: str, table: Colliding) -> Iterator[tuple[dict[str, Any], Bring]]:
    """Give a job's source in a database of its own, and what brings rows there."""
    name = f"t_{uuid4().hex[:12]}"
    asyncio.run(servers.admin_execute(server, f"CREATE DATABASE {name}"))
    try:
        url = servers.database_url(server, name)
        asyncio.run(execute(url, table.table()))

        def bring(rows: Iterable[int], *, long_ago: bool = False) -> None:
            asyncio.run(execute(url, *table.sql_of(rows, long_ago=long_ago)))

        yield {"type": "postgres", "url": url, "table": "t", "watermark": WATERMARK}, bring
    finally:
        asyncio.run(servers.admin_execute(server, f"DROP DATABASE {name} WITH (FORCE)"))


@contextmanager
def in_mongodb(url: str, table: Colliding) -> Iterator[tuple[dict[str, Any], Bring]]:
    """Give a job's source in a database of its own, and what brings documents there."""
    name = f"t_{uuid4().hex[:12]}"
    with MongoClient[dict[str, Any]](url) as client:

        def bring(rows: Iterable[int], *, long_ago: bool = False) -> None:
            for row in rows:
                document = table.document(row, long_ago=long_ago)
                client[name]["c"].replace_one({"_id": row}, document, upsert=True)

        try:
            where = {"type": "mongodb", "url": url, "database": name, "collection": "c"}
            yield where | {"watermark": WATERMARK}, bring
        finally:
            client.drop_database(name)


def loaded_by(
    folder: Path, source: dict[str, Any], table: Colliding, endpoint: str, **target: Any
) -> Command:
    """Return the job over a table of items that is empty."""
    folder.mkdir(exist_ok=True)
    name = f"t-{uuid4().hex[:12]}"
    loads.create_table(endpoint, name)
    target |= {"mode": table.mode, "version": "rev"} if table.mode == "newer" else {"mode": table.mode}
    job = loads.job("", endpoint, name, items=table.rules(), target=target) | {"source": source}
    return Command(folder, job)


def held(command: Command) -> dict[str, tuple[str, str]]:
    """Return the id and the value of each item, by what tells its key."""
    target = command.job["target"]
    items = loads.items(target["endpoint_url"], target["table"]).values()
    return {item["key"]["S"]: (str(item["of"]["N"]), item["v"]["S"]) for item in items}
