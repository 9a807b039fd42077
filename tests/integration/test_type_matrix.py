"""Every PostgreSQL type of the contract with hostile values, through the whole command into real tables.

What is expected comes from PostgreSQL's own text of each value through a mapping in plain Python, or is
written by hand; nothing of the engine has a part in it.
"""

import asyncio
import uuid
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.hostile_columns import COLUMNS, CONTRIB, EXTENSIONS, SCHEMA
from tests.support.loads import Wire
from tests.support.own_postgres import own_postgres, system_binaries
from tests.support.plain_values import Bad, Column, same

NULL = {"NULL": True}


@dataclass(frozen=True)
class Matrix:
    """The rows of the table: which value each column has in them, and which rows can't be written."""

    columns: dict[str, Column]

    @property
    def good(self) -> list[dict[str, str]]:
        depth = max(len(column.values) for column in self.columns.values())
        return [
            {
                name: list(column.values)[place]
                for name, column in self.columns.items()
                if place < len(column.values)
            }
            for place in range(depth)
        ] + [{}]

    @property
    def bad(self) -> list[tuple[str, Bad]]:
        return [(name, bad) for name, column in self.columns.items() for bad in column.bad]

    async def fill(self, url: str, *statements: str) -> None:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                await connection.execute(statement)
            declared = ", ".join(f'"{name}" {column.type}' for name, column in self.columns.items())
            await connection.execute(f"CREATE TABLE t (id int PRIMARY KEY, {declared})")
            rows = [*self.good, *({name: bad.literal} for name, bad in self.bad)]
            for place, row in enumerate(rows):
                names = "".join(f', "{name}"' for name in row)
                values = "".join(f", {quoted(row[name])}::{self.columns[name].type}" for name in row)
                await connection.execute(f"INSERT INTO t (id{names}) VALUES ({place}{values})")
        finally:
            await connection.close()

    async def expected(self, url: str, *, keep: bool, as_strings: bool) -> dict[str, dict[str, Wire]]:
        """Return the items that must be there, by key."""
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("SET TimeZone = 'UTC'; SET extra_float_digits = 1")
            printed = ", ".join(
                f'CASE WHEN "{n}" IS NOT NULL THEN format(\'%s\', "{n}") END' for n in self.columns
            )
            texts = await connection.fetch(f"SELECT {printed} FROM t ORDER BY id")
        finally:
            await connection.close()
        found = {}
        for place, row in enumerate(self.good):
            attributes = dict(zip(self.columns, texts[place], strict=True))
            found[f"ROW#{place}|ROW"] = self._item(place, row, attributes, keep=keep)
        for place, (name, bad) in enumerate(self.bad, start=len(self.good)):
            if as_strings and bad.as_string is not None:
                item = self._item(place, {}, {}, keep=keep)
                found[f"ROW#{place}|ROW"] = item | {name: bad.as_string}
        return found

    def _item(
        self, place: int, row: dict[str, str], texts: dict[str, str | None], *, keep: bool
    ) -> dict[str, Wire]:
        item: dict[str, Wire] = {
            "PK": {"S": f"ROW#{place}"},
            "SK": {"S": "ROW"},
            "id": loads.exact({"N": str(place)}),
        }
        for name, column in self.columns.items():
            text = texts.get(name)
            if text is None:
                if keep:
                    item[name] = NULL
            elif column.mapping is not None:
                item[name] = column.mapping(text)
            else:
                item[name] = column.values[row[name]]
        return item

    def dead(self, *, as_strings: bool) -> dict[str, str]:
        """Return the reasons of the dead letters by the row's key."""
        numbered = enumerate(self.bad, start=len(self.good))
        return {
            str(place): bad.reason
            for place, (_, bad) in numbered
            if not (as_strings and bad.as_string is not None)
        }


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def compare(found: dict[str, dict[str, Wire]], expected: dict[str, dict[str, Wire]]) -> None:
    differing = [
        f"{place}.{name}: found {shown(found.get(place, {}).get(name))}, expected {shown(item.get(name))}"
        for place, item in expected.items()
        for name in sorted(item.keys() | found.get(place, {}).keys())
        if not same(found.get(place, {}).get(name), item.get(name))
    ]
    assert not differing, "\n".join(differing)
    assert found.keys() == expected.keys()


def shown(value: Wire | None) -> str:
    return ascii(value)[:200]


def run_matrix(matrix: Matrix, url: str, endpoint: str, folder: Path, nulls: str, numbers: str) -> None:
    """Load the matrix and hold every item and every dead letter against what is expected."""
    table = f"t-{uuid.uuid4().hex[:12]}"
    loads.create_table(endpoint, table)
    folder.mkdir()
    command = Command(folder, loads.job(url, endpoint, table, options={"nulls": nulls, "numbers": numbers}))
    ended = command.here("run", "--json", "--workers", "1")
    keep, as_strings = nulls == "keep", numbers == "string"
    dead = matrix.dead(as_strings=as_strings)
    assert ended.code == (3 if dead else 0), ended.stderr
    assert {letter["source_key"]["id"]: letter["reason"] for letter in command.dead_letters()} == dead
    compare(loads.items(endpoint, table), asyncio.run(matrix.expected(url, keep=keep, as_strings=as_strings)))
    report = ended.report
    rows = len(matrix.good) + len(matrix.bad)
    assert report["rows_read"] == report["items_emitted"] == rows
    assert (report["items_written"], report["items_dead_lettered"]) == (rows - len(dead), len(dead))
    loads.assert_balanced(report)


@pytest.mark.parametrize("server", ["dynoxide", "dynamodb_local"])
def test_every_type_arrives_exactly_or_as_a_dead_letter(
    postgres_url: str, server: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    endpoint = request.getfixturevalue(server)
    matrix = Matrix(COLUMNS)
    asyncio.run(matrix.fill(postgres_url, *SCHEMA))
    for nulls, numbers in (("omit", "exact"), ("keep", "string")):
        run_matrix(matrix, postgres_url, endpoint, tmp_path / nulls, nulls, numbers)


def test_an_older_postgresql_with_xml_and_citext(dynoxide: str, tmp_path: Path) -> None:
    binaries = system_binaries()
    if binaries is None:
        pytest.skip("no system PostgreSQL is installed, and the embedded one has no XML")
    with own_postgres(binaries, "postgres") as server:
        matrix = Matrix({**COLUMNS, **CONTRIB})
        asyncio.run(matrix.fill(server.url(), *SCHEMA, *EXTENSIONS))
        run_matrix(matrix, server.url(), dynoxide, tmp_path / "system", "keep", "exact")
