"""Every type of the contract, with values that are easily lost, against expectations written by hand."""

from typing import Any

import orjson
import pytest

from engine.errors import PermanentError
from engine.kinds import Decimal, Document, Kind, ListOf, Scalar, StructOf
from tests.support.pg import execute, opened, read_all, rows

pytestmark = pytest.mark.asyncio

INT, NUMBER, FLOAT, STRING = Scalar.INT, Scalar.NUMBER, Scalar.FLOAT, Scalar.STRING
HOSTILE = "a,b\"c'd\\e\n\r\n\t\\. \\N NULL  é 漢 😀 \x01\x1e\x1f"

SCALARS: list[tuple[str, Kind, dict[str, str | None]]] = [
    ("smallint", INT, {"-32768": "-32768"}),
    ("integer", INT, {"2147483647": "2147483647"}),
    ("bigint", INT, {"-9223372036854775808": "-9223372036854775808", "0": "0"}),
    ("oid", INT, {"4294967295": "4294967295"}),
    ("numeric", NUMBER, {"NaN": "NaN", "-Infinity": "-Infinity", "1.50": "1.50", "1e40": "1" + "0" * 40}),
    ("numeric(12,2)", Decimal(12, 2), {"1.5": "1.50", "-0": "0.00", "NaN": "NaN"}),
    ("numeric(38,38)", Decimal(38, 38), {"0." + "9" * 38: "0." + "9" * 38}),
    ("numeric(39,2)", NUMBER, {"1": "1.00"}),
    ("numeric(3,-2)", NUMBER, {"12345": "12300"}),
    ("numeric(2,4)", NUMBER, {"0.0012": "0.0012"}),
    ("real", FLOAT, {"0.1": "0.1", "1e-7": "1e-07", "NaN": "NaN", "-Infinity": "-Infinity", "-0": "-0"}),
    ("double precision", FLOAT, {"0.30000000000000004": "0.30000000000000004", "1e300": "1e+300"}),
    ("boolean", Scalar.BOOL, {"t": "true", "f": "false"}),
    ("text", STRING, {HOSTILE: HOSTILE, "": "", "01234": "01234", "null": "null", "\\.": "\\."}),
    ("varchar(10)", STRING, {"ab ": "ab "}),
    ("char(5)", STRING, {"ab": "ab   "}),
    ('"char"', STRING, {"x": "x"}),
    ("name", STRING, {"n": "n"}),
    ("uuid", STRING, {"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}),
    ("inet", STRING, {"10.0.0.1": "10.0.0.1", "::1/64": "::1/64"}),
    ("cidr", STRING, {"10.0.0.0/8": "10.0.0.0/8"}),
    ("macaddr", STRING, {"08:00:2B:01:02:03": "08:00:2b:01:02:03"}),
    ("interval", STRING, {"1 year 2 days -3 hours": "1 year 2 days -03:00:00"}),
    ("money", STRING, {"1234.5": "$1,234.50"}),
    ("int4range", STRING, {"[1,5]": "[1,6)", "empty": "empty"}),
    ("bit(4)", STRING, {"0101": "0101"}),
    ("varbit", STRING, {"": "", "1": "1"}),
    ("tsvector", STRING, {"b a": "'a' 'b'"}),
    ("pg_lsn", STRING, {"16/B374D848": "16/B374D848"}),
    ("point", STRING, {"(1,2.5)": "(1,2.5)"}),
    ("box", STRING, {"(1,1),(0,0)": "(1,1),(0,0)"}),
    ("jsonpath", STRING, {"$.a": '$."a"'}),
    ("int2vector", STRING, {"1 2": "1 2"}),
    ("timetz", STRING, {"10:00:00.5+02": "10:00:00.5+02"}),
    ("time", Scalar.TIME, {"10:00:00.50": "10:00:00.5", "24:00": "24:00:00"}),
    ("bytea", Scalar.BINARY, {"\\x00ff10": "AP8Q", "\\x": "", "\\x" + "00" * 60: "A" * 80}),
    (
        "date",
        Scalar.DATE,
        {
            "2024-02-29": "2024-02-29",
            "infinity": "infinity",
            "-infinity": "-infinity",
            "10000-01-01": "10000-01-01",
            "0044-03-15 BC": "-0043-03-15",
            "0001-01-01 BC": "0000-01-01",
        },
    ),
    (
        "timestamp",
        Scalar.TIMESTAMP,
        {
            "2024-01-15 10:00:00": "2024-01-15T10:00:00",
            "2024-01-15 10:00:00.500000": "2024-01-15T10:00:00.5",
            "infinity": "infinity",
            "-infinity": "-infinity",
            "10000-01-01 00:00:00": "10000-01-01T00:00:00",
            "4713-01-01 00:00:00 BC": "-4712-01-01T00:00:00",
        },
    ),
    (
        "timestamptz",
        Scalar.TIMESTAMPTZ,
        {
            "2024-01-15 12:00:00+02": "2024-01-15T10:00:00Z",
            "2024-01-15 10:00:00.000001+00": "2024-01-15T10:00:00.000001Z",
            "1800-01-01 00:00:00+00": "1800-01-01T00:00:00Z",
            "infinity": "infinity",
            "-infinity": "-infinity",
            "294276-12-31 23:59:59+00": "294276-12-31T23:59:59Z",
            "0044-03-15 12:00:00+00 BC": "-0043-03-15T12:00:00Z",
        },
    ),
]


async def _values(url: str, type_: str, values: list[str | None]) -> tuple[Kind, list[Any]]:
    quoted = ", ".join(
        f"({n}, {'NULL' if value is None else quote(value)}::{type_})" for n, value in enumerate(values)
    )
    await execute(url, f"CREATE TABLE t (id int PRIMARY KEY, v {type_})", f"INSERT INTO t VALUES {quoted}")
    async with opened(url, table="t") as source:
        column = source.ticket.schema.column("v")
        assert column is not None
        return column.kind, [row["v"] for row in await rows(source)]


def quote(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


@pytest.mark.parametrize(("type_", "kind", "values"), SCALARS, ids=[case[0] for case in SCALARS])
async def test_a_scalar_arrives_as_its_canonical_text(
    postgres_url: str, type_: str, kind: Kind, values: dict[str, str | None]
) -> None:
    got_kind, got = await _values(postgres_url, type_, [None, *values, None])
    assert got_kind == kind
    assert got == [None, *values.values(), None]


@pytest.mark.parametrize(("type_", "kind", "values"), SCALARS, ids=[case[0] for case in SCALARS])
async def test_the_same_scalars_arrive_inside_arrays_and_composites(
    postgres_url: str, type_: str, kind: Kind, values: dict[str, str | None]
) -> None:
    parts = ", ".join(f"{quote(value)}::{type_}" for value in values)
    first = quote(next(iter(values)))
    await execute(
        postgres_url,
        f"CREATE TYPE pair AS (a {type_}, b {type_})",
        f"CREATE TABLE t (id int PRIMARY KEY, list {type_}[], pair pair)",
        f"INSERT INTO t VALUES (1, ARRAY[NULL, {parts}], ROW({first}::{type_}, NULL)), (2, '{{}}', NULL),"
        " (3, NULL, ROW(NULL, NULL))",
    )
    async with opened(postgres_url, table="t") as source:
        schema = source.ticket.schema
        got = await rows(source)
    assert schema.column("list").kind == ListOf(kind)
    assert schema.column("pair").kind == StructOf((("a", kind), ("b", kind)))
    expected = list(values.values())
    assert [row["list"] for row in got] == [[None, *expected], [], None]
    assert [row["pair"] for row in got] == [{"a": expected[0], "b": None}, None, {"a": None, "b": None}]


async def test_enums_and_domains_are_what_is_below_them(postgres_url: str) -> None:
    await execute(
        postgres_url,
        "CREATE TYPE mood AS ENUM ('sad', 'very happy')",
        "CREATE DOMAIN price AS numeric(10,2) CHECK (VALUE >= 0)",
        "CREATE DOMAIN dear AS price CHECK (VALUE > 100)",
        "CREATE DOMAIN tags AS text[]",
        "CREATE TABLE t (id int PRIMARY KEY, m mood, p dear, g tags, ms mood[], ps dear[])",
        "INSERT INTO t VALUES (1, 'very happy', 100.5, '{a,NULL}', '{sad}', '{101}')",
    )
    async with opened(postgres_url, table="t") as source:
        kinds = {column.name: column.kind for column in source.ticket.schema.columns}
        got = await rows(source)
    assert kinds == {
        "id": INT, "m": STRING, "p": Decimal(10, 2), "g": ListOf(STRING), "ms": ListOf(STRING),
        "ps": ListOf(Decimal(10, 2)),
    }  # fmt: skip
    assert got == [
        {"id": "1", "m": "very happy", "p": "100.50", "g": ["a", None], "ms": ["sad"], "ps": ["101.00"]}
    ]


def wire(value: dict[str, Any]) -> Any:
    assert value["flaw"] is None
    return orjson.loads(value["wire"])


async def test_json_is_exact_and_keeps_json_null_apart_from_sql_null(postgres_url: str) -> None:
    await execute(
        postgres_url,
        "CREATE TABLE t (id int PRIMARY KEY, j json, b jsonb, js json[])",
        """INSERT INTO t VALUES (1, '{"n": 1.10, "big": 12345678901234567890123, "s": "\\u00e9\\n"}',
             '[1, "a", null]', ARRAY['{"a": 1}', NULL, '"x"']::json[]),
             (2, 'null', NULL, '{}'), (3, NULL, 'null', NULL)""",
    )
    async with opened(postgres_url, table="t") as source:
        assert {c.kind for c in source.ticket.schema.columns} == {INT, Document()}
        first, second, third = await rows(source)
    assert wire(first["j"]) == {
        "M": {"n": {"N": "1.1"}, "big": {"N": "12345678901234567890123"}, "s": {"S": "é\n"}}
    }
    assert wire(first["b"]) == {"L": [{"N": "1"}, {"S": "a"}, {"NULL": True}]}
    assert wire(first["js"]) == {"L": [{"M": {"a": {"N": "1"}}}, {"NULL": True}, {"S": "x"}]}
    assert wire(second["j"]) == {"NULL": True}
    assert second["b"] is None
    assert wire(second["js"]) == {"L": []}
    assert third["j"] is None
    assert wire(third["b"]) == {"NULL": True}
    assert third["js"] is None


async def test_arrays_of_several_dimensions_become_documents(postgres_url: str) -> None:
    await execute(
        postgres_url,
        "CREATE TABLE t (id int PRIMARY KEY, declared int[][], undeclared text[], ts timestamptz[],"
        " b bytea[], low int[])",
        "INSERT INTO t VALUES (1, '{{1,2},{3,NULL}}', '{{\"{a}\"},{NULL}}',"
        " '{{2024-01-15 10:00+00,infinity}}', '{{\"\\\\x00\"}}', '[0:1]={1,2}'),"
        " (2, '{1}', '{x}', NULL, '{}', '{}')",
    )
    async with opened(postgres_url, table="t") as source:
        kinds = [column.kind for column in source.ticket.schema.columns]
        first, second = await rows(source)
    assert kinds == [INT, Document(), Document(), Document(), Document(), ListOf(INT)]
    assert wire(first["declared"]) == {
        "L": [{"L": [{"N": "1"}, {"N": "2"}]}, {"L": [{"N": "3"}, {"NULL": True}]}]
    }
    assert wire(first["undeclared"]) == {"L": [{"L": [{"S": "{a}"}]}, {"L": [{"NULL": True}]}]}
    assert wire(first["ts"]) == {"L": [{"L": [{"S": "2024-01-15T10:00:00Z"}, {"S": "infinity"}]}]}
    assert wire(first["b"]) == {"L": [{"L": [{"B": "AA=="}]}]}
    assert first["low"] == ["1", "2"]
    assert wire(second["undeclared"]) == {"L": [{"S": "x"}]}
    assert second["ts"] is None


async def test_what_cannot_be_taken_apart_is_refused_and_never_lost(postgres_url: str) -> None:
    await execute(
        postgres_url,
        "CREATE TYPE pair AS (a int, b int)",
        "CREATE TABLE t (id int PRIMARY KEY, ps pair[])",
        "INSERT INTO t VALUES (1, ARRAY[ROW(1, 2)::pair]), (2, ARRAY[ARRAY[ROW(1, 2)::pair]])",
    )
    assert await read_all(postgres_url, table="t", where="id = 1") == [
        {"id": "1", "ps": [{"a": "1", "b": "2"}]}
    ]
    with pytest.raises(PermanentError, match="array of several dimensions whose elements"):
        await read_all(postgres_url, table="t")


async def test_composites_nest_and_null_ones_stay_apart_from_ones_of_nulls(postgres_url: str) -> None:
    await execute(
        postgres_url,
        'CREATE TYPE inside AS ("a b" int, tags text[], doc jsonb)',
        'CREATE TYPE outside AS ("row 0" inside, many inside[], at timestamptz)',
        "CREATE TABLE t (id int PRIMARY KEY, o outside, os outside[])",
        """INSERT INTO t VALUES
             (1, ROW(ROW(7, '{x,NULL}', '{"k": 1.0}'), ARRAY[ROW(1, NULL, NULL)::inside, NULL],
                     '2024-01-15 10:00+00'),
              ARRAY[NULL, ROW(NULL, '{}', NULL)::outside]),
             (2, ROW(NULL, NULL, NULL), '{}'), (3, NULL, NULL)""",
    )
    inside = StructOf((("a b", INT), ("tags", Document()), ("doc", Document())))
    outside = StructOf((("row 0", inside), ("many", ListOf(inside)), ("at", Scalar.TIMESTAMPTZ)))
    async with opened(postgres_url, table="t") as source:
        kinds = [column.kind for column in source.ticket.schema.columns]
        first, second, third = await rows(source)
    assert kinds == [INT, outside, ListOf(outside)]
    assert first["o"]["row 0"]["a b"] == "7"
    assert wire(first["o"]["row 0"]["tags"]) == {"L": [{"S": "x"}, {"NULL": True}]}
    assert wire(first["o"]["row 0"]["doc"]) == {"M": {"k": {"N": "1"}}}
    assert first["o"]["many"] == [{"a b": "1", "tags": None, "doc": None}, None]
    assert first["o"]["at"] == "2024-01-15T10:00:00Z"
    assert first["os"] == [None, {"row 0": None, "many": [], "at": None}]
    assert second["o"] == {"row 0": None, "many": None, "at": None}
    assert second["os"] == []
    assert third["o"] is None
    assert third["os"] is None


async def test_settings_of_the_database_do_not_alter_what_is_read(postgres_url: str) -> None:
    await execute(
        postgres_url,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = ''Asia/Tokyo''', current_database());"
        " EXECUTE format('ALTER DATABASE %I SET DateStyle = ''German''', current_database());"
        " EXECUTE format('ALTER DATABASE %I SET IntervalStyle = ''iso_8601''', current_database());"
        " EXECUTE format('ALTER DATABASE %I SET bytea_output = ''escape''', current_database());"
        " EXECUTE format('ALTER DATABASE %I SET standard_conforming_strings = off', current_database());"
        " EXECUTE format('ALTER DATABASE %I SET array_nulls = off', current_database());"
        " EXECUTE format('ALTER DATABASE %I SET extra_float_digits = -10', current_database()); END $$",
        "CREATE TABLE t"
        " (id text PRIMARY KEY, at timestamptz, d date, i interval, b bytea, f float8, l text[])",
        "INSERT INTO t VALUES (E'back\\\\slash\\'', '2024-01-15 10:00+00', '2024-12-31', '1 day', '\\x00ff',"
        " 0.30000000000000004, ARRAY[NULL, 'NULL'])",
    )
    got = await read_all(postgres_url, table="t")
    assert got == [
        {
            "id": "back\\slash'", "at": "2024-01-15T10:00:00Z", "d": "2024-12-31", "i": "1 day", "b": "AP8=",
            "f": "0.30000000000000004", "l": [None, "NULL"],
        }
    ]  # fmt: skip
