"""The key of a row, as its dead letter or its item has it, leads back to the row, whatever the type."""

import pytest

from engine.batch import Cursor
from engine.contracts.source import KeysRefused
from tests.support import pg
from tests.support.own_postgres import OwnPostgres

VALUES = {
    "smallint": ["-32768", "0"],
    "bigint": ["9223372036854775807"],
    "oid": ["4294967295"],
    "numeric": ["NaN", "-0.10", "1e400", "-Infinity"],
    "real": ["NaN", "0.1", "-Infinity", "1e-40"],
    "double precision": ["Infinity", "0.1", "-0", "5e-324"],
    "boolean": ["t", "f"],
    "bytea": [r"\x", r"\xff00", r"\x5c78"],
    "date": ["infinity", "-infinity", "4713-01-01 BC", "0001-12-31 BC", "0001-01-01", "5874897-12-31"],
    "time": ["24:00:00", "00:00:00.000001"],
    "timetz": ["10:00:00+15:59:59", "24:00:00-12"],
    "timestamp": ["infinity", "4713-01-01 00:00:00.5 BC", "0044-03-15 BC", "294276-12-31 23:59:59.999999"],
    "timestamptz": [
        "-infinity",
        "4713-01-01 00:00:00.5+00 BC",
        "0044-03-15 BC",
        "294276-12-31 23:59:59.999999+00",
    ],
    "interval": ["-1 mon +2 days -03:04:05.6", "178000000 years", "00:00:00"],
    "text": ["", r"a\b", "it's", "NULL", "é😀", " x\n"],
    "varchar(9)": ["", r"\\x"],
    "char(4)": ["a", ""],
    "name": ["a b"],
    '"char"': [r"\303", "a", ""],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "inet": ["10.0.0.1/8", "::1"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "bit(3)": ["101"],
    "varbit": ["", "1"],
    "money": ["-92233720368547758.08", "1234.5"],
    "mood": ["sad", "it's, \\ok"],
    "daterange": ["empty", "[infinity,)", '["0044-03-15 BC",2024-01-01)'],
    "int4range": ["(,5)"],
    "pg_lsn": ["16/B374D848"],
    "tsvector": ["'a':1 'b c'"],
    "tsquery": ["'a' & !'b'"],
    "early": ["0044-03-15 BC"],
}
CONTRIB = {"citext": ["Ab", "it's"], "ltree": ["Top.A_b"], "hstore": ['"a"=>"b, c", "d"=>NULL']}
TYPES = (
    r"CREATE TYPE mood AS ENUM ('sad', 'it''s, \ok')",
    "CREATE DOMAIN early AS date CHECK (VALUE < '0001-01-01')",
)


async def lead_back(url: str, values: dict[str, list[str]]) -> None:
    for n, (name, texts) in enumerate(values.items()):
        rows = ", ".join(f"(${text}$::{name}, 1)".replace("$", "$$") for text in texts)
        await pg.execute(
            url, f"CREATE TABLE t{n} (k {name}, n int, PRIMARY KEY (k, n))", f"INSERT INTO t{n} VALUES {rows}"
        )
        async with pg.opened(url, table=f"t{n}") as source:
            assert source.ticket.schema.key, name
            read = [(row["k"], row["n"]) for row in await pg.rows(source)]
            assert len(read) == len(texts), name
            plain = [(k.decode() if isinstance(k, bytes) else k, n) for k, n in read]
            for key in plain:
                found = [row async for b in source.rows_by_key([Cursor(key)]) for row in b.rows.to_pylist()]
                assert [(row["k"], row["n"]) for row in found] == [key], (name, key)
            drawn = await source.sample_keys(10, 1)
            assert sum([b.rows.num_rows async for b in source.rows_by_key(drawn)]) == len(texts), name


async def test_a_canonical_key_leads_back_to_its_row(postgres_url: str) -> None:
    await pg.execute(postgres_url, *TYPES)
    await lead_back(postgres_url, VALUES)


async def test_a_key_of_an_extension_or_in_old_servers_leads_back_too(system_postgres: OwnPostgres) -> None:
    extensions = [f"CREATE EXTENSION {name}" for name in CONTRIB]
    await pg.execute(system_postgres.url(), *extensions, *TYPES)
    await lead_back(system_postgres.url(), {**CONTRIB, **VALUES})


async def test_a_text_that_is_no_key_keeps_no_other_row_from_being_read(postgres_url: str) -> None:
    await pg.execute(
        postgres_url,
        "CREATE TABLE t (id int, day date, PRIMARY KEY (id, day))",
        "INSERT INTO t SELECT n, '0044-03-15 BC' FROM generate_series(1, 1200) AS n",
    )
    async with pg.opened(postgres_url, table="t") as source:
        keys = [Cursor((str(n), "-0043-03-15")) for n in range(1, 1201)]
        strange = [Cursor(("x", "-0043-03-15")), Cursor(("7", "soon")), Cursor(("99999999999", "infinity"))]
        strange += [Cursor(("7", "2024-01-01\0"))]
        for at, key in zip((3, 700, 701, 1200), strange, strict=True):
            keys.insert(at, key)
        found: list[str] = []

        async def read() -> None:
            async for batch in source.rows_by_key(keys):
                found.extend(batch.rows.column("id").to_pylist())

        with pytest.raises(
            KeysRefused, match="4 of 1204 keys can't be values of id integer, day date"
        ) as refused:
            await read()
        assert refused.value.keys == frozenset(strange)
        assert sorted(map(int, found)) == list(range(1, 1201))
