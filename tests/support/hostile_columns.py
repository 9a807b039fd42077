"""Columns of every type of the contract, with values that are easily lost and some that can't be written."""

from decimal import Decimal

from tests.support.plain_values import Bad, Column, binary, boolean, document, instant, number, plain, string

HOSTILE = "a,b\"c'd\\e\n\r\n\t\\. \\N NULL {x} ${X} é 漢 😀 \x01\x1e\x1f\x7f\u2028"
BIG_TEXT = "é" * 150_000
DIGITS_38 = "12345678901234567890123456789012345678"


def not_finite(*literals: str) -> tuple[Bad, ...]:
    return tuple(Bad(text, "number_not_finite", {"S": text}) for text in literals)


NULL, N, S = {"NULL": True}, number, string

COLUMNS = {
    "smallint": Column("smallint", number, ["-32768", "32767", "0"]),
    "integer": Column("integer", number, ["-2147483648", "2147483647"]),
    "bigint": Column("bigint", number, ["-9223372036854775808", "9223372036854775807"]),
    "oid": Column("oid", number, ["4294967295"]),
    "numeric": Column(
        "numeric",
        number,
        [
            "0", "-0.0", "1.50", "0.1", "1e40", DIGITS_38, f"-0.{DIGITS_38}", f"{DIGITS_38}{'0' * 80}",
            "1e-130", "9.99e125", "1e125", "100", "0.000", "-1e-130",
        ],
        (
            *not_finite("NaN", "Infinity", "-Infinity"),
            Bad(DIGITS_38 + "9", "number_precision", {"S": DIGITS_38 + "9"}),
            Bad("1." + "0" * 37 + "1" * 2, "number_precision", {"S": "1." + "0" * 37 + "11"}),
            Bad("1e126", "number_range", {"S": "1" + "0" * 126}),
            Bad("1e-131", "number_range", {"S": "0." + "0" * 130 + "1"}),
        ),
    ),
    "money_like": Column("numeric(12,2)", number, ["1.5", "-0", "9999999999.99", "0.01"], not_finite("NaN")),
    "tiny": Column("numeric(38,38)", number, ["0." + "9" * 38, "0." + "0" * 37 + "1"]),
    "wide": Column("numeric(60,20)", number, ["1", "-12345678901234567890.12345"], (
        Bad("1" * 40, "number_precision", {"S": "1" * 40 + "." + "0" * 20}),
    )),
    "rounded": Column("numeric(3,-2)", number, ["12345"]),
    "real": Column(
        "real",
        number,
        ["0.1", "-0", "1e-45", "3.4028235e38", "16777217", "1e-7"],
        not_finite("NaN", "Infinity", "-Infinity"),
    ),
    "double": Column(
        "double precision",
        number,
        ["0.1", "-0", "0.30000000000000004", "1e-130", "9.99e125", "1e22", "123456789012345680000"],
        (
            *not_finite("NaN", "Infinity", "-Infinity"),
            Bad("5e-324", "number_range", {"S": "5e-324"}),
            Bad("1.7976931348623157e308", "number_range", {"S": "1.7976931348623157e+308"}),
            Bad("1e126", "number_range", {"S": "1e+126"}),
        ),
    ),
    "boolean": Column("boolean", boolean, ["t", "f"]),
    "text": Column(
        "text",
        string,
        ["", " ", HOSTILE, "NULL", "null", "\\.", "\\N", "01234", "1e5", "true", "\ufeffbom", BIG_TEXT,
         "e\u0301", '{"S": "x"}', "," * 30, "\x7f\x80\u0085\u2029"],
        (Bad("x" * 410_000, "item_too_large"),),
    ),
    "varchar": Column("varchar(10)", string, ["", "ab ", " é漢😀"]),
    "char": Column("char(5)", string, ["ab", "", "é"]),
    "internal_char": Column('"char"', string, ["x"]),
    "mood": Column("mood", string, ["sad", "very, \"happy\"", ""]),
    "uuid": Column("uuid", string, ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"]),
    "inet": Column("inet", string, ["10.0.0.1", "::1/64", "192.168.0.0/24"]),
    "cidr": Column("cidr", string, ["10.0.0.0/8"]),
    "macaddr": Column("macaddr", string, ["08:00:2B:01:02:03"]),
    "interval": Column("interval", string, ["1 year 2 days -3 hours", "0", "-1.000001 s", "178000000 years"]),
    "int4range": Column("int4range", string, ["[1,5]", "empty", "(,)", "[3,)"]),
    "numrange": Column("numrange", string, ["[1.10,2.20)"]),
    "tstzrange": Column("tstzrange", string, ["[2024-01-15 12:00+02,infinity)"]),
    "multirange": Column("int4multirange", string, ["{[1,3),[5,9)}", "{}"]),
    "money": Column("money", string, ["1234.5", "-0.01"]),
    "bits": Column("varbit", string, ["", "0101"]),
    "tsvector": Column("tsvector", string, ["b 'a c':3A"]),
    "point": Column("point", string, ["(1,2.5)"]),
    "path": Column("path", string, ["[(0,0),(1,1)]"]),
    "xid": Column("pg_lsn", string, ["16/B374D848"]),
    "timestamptz": Column(
        "timestamptz",
        instant,
        [
            "2024-01-15 12:00:00+02", "2024-01-15 10:00:00.500000+00", "2024-01-15 10:00:00.000001+00",
            "1800-01-01 00:00:00+00", "infinity", "-infinity", "294276-12-31 23:59:59.999999+00",
            "10000-01-01 00:00+00", "9999-12-31 23:59:59.999999+00", "0044-03-15 12:00:00+00 BC",
            "0001-01-01 00:00+00", "0001-12-31 23:00+00 BC", "4714-11-24 00:00:00+00 BC",
        ],
    ),
    "timestamp": Column(
        "timestamp",
        instant,
        ["2024-02-29 23:59:59.12", "infinity", "-infinity", "294276-12-31 00:00", "4713-01-01 00:00 BC"],
    ),
    "date": Column(
        "date",
        instant,
        [
            "2024-02-29", "infinity", "-infinity", "5874897-12-31", "0044-03-15 BC", "0001-01-01 BC",
            "10000-01-01",
        ],
    ),
    "time": Column("time", string, ["10:00:00.50", "24:00", "00:00:00.000001", "00:00"]),
    "timetz": Column("timetz", string, ["10:00:00.5+02"]),
    "json": Column(
        "json",
        document,
        [
            "null", "0", "-0", "1.10", "1e3", '""', "[]", "{}", '"\\u00e9\\u0000\\ud83d\\ude00\\/\\n"',
            '{"a": {"b": [1, null, {"c": "é"}], " ": "blank"}, "a b": 12345678901234567890123}',
            "  [1 ,\n2]  ", "true", '"a\\"b\\\\c"',
            "0.1000000000000000055511151231257827", "[" * 31 + "]" * 31,
            '{"S": "x", "NULL": true, "N": "1"}', DIGITS_38, '["1e5", "\\u005f{x}"]',
        ],
        (
            Bad("1e126", "number_range", {"S": "1e126"}),
            Bad(f'{{"n": [{DIGITS_38}9]}}', "number_precision", plain({"n": [f"{DIGITS_38}9"]})),
            Bad("[" * 33 + "]" * 33, "nesting_too_deep"),
            Bad("[" * 900 + "]" * 900, "nesting_too_deep"),
            Bad('"\\ud800"', "value_unsupported"),
            Bad('{"k": 1, "k": 1}', "value_unsupported"),  # one of the two would be dropped silently
            Bad('{"a": [{"": 1}]}', "value_unsupported"),  # DynamoDB has no empty names
        ),
    ),
    "jsonb": Column(
        "jsonb",
        document,
        [
            "null", '{"b": 1.50, "a": [true, false, null, "x", -1e-5, 1E+2]}', '{"k": 1, "k": 2}',
            '{"big": 12345678901234567890123.5, "é": "漢😀\\u0001"}', "[[[]], {}]", '"\\u00e9"', "1e125",
        ],
        (
            Bad("[1e200]", "number_range", {"L": [{"S": "1" + "0" * 200}]}),
            Bad(f"{DIGITS_38}.5", "number_precision", {"S": f"{DIGITS_38}.5"}),
        ),
    ),
    "bytea": Column("bytea", binary, ["\\x", "\\x00ff10", "\\x" + "00fe" * 150_000, "\\x2c220a5c"]),
    "price": Column("price", number, ["1", "100.555"]),
    "dear": Column("dear", number, ["100.5"]),
    "ints": Column(
        "int[]",
        None,
        {"{}": plain([]), "{1,NULL,-3}": plain([1, None, -3]), "[5:6]={7,8}": plain([7, 8])},
    ),
    "nested": Column(
        "numeric[]",
        None,
        {
            "{{1.50,2},{NULL,4}}": plain([[Decimal("1.5"), 2], [None, 4]]),
            "{}": plain([]),
            "{1}": plain([1]),
            "{{{1}},{{2}}}": plain([[[1]], [[2]]]),
        },
        (Bad("{{1,NaN}}", "number_not_finite", {"L": [{"L": [N("1"), S("NaN")]}]}),),
    ),
    "flat": Column(
        "double precision[]",
        None,
        {"{0.1,1e22}": plain([Decimal("0.1"), Decimal("1e22")])},
        (
            Bad("{1,NaN}", "number_not_finite", {"L": [N("1"), S("NaN")]}),
            Bad("{1e300}", "number_range", {"L": [S("1e+300")]}),
        ),
    ),
    "texts": Column(
        "text[]",
        None,
        {
            '{"",NULL,"NULL","a,b","{x}","q\\"\\\\"," "}': plain(
                ["", None, "NULL", "a,b", "{x}", 'q"\\', " "]
            ),
            "{}": plain([]),
        },
    ),
    "instants": Column(
        "timestamptz[]",
        None,
        {
            '{"2024-01-15 12:00+02",infinity,"0044-03-15 12:00+00 BC"}': plain(
                ["2024-01-15T10:00:00Z", "infinity", "-0043-03-15T12:00:00Z"]
            )
        },
    ),
    "flags": Column("boolean[]", None, {"{t,f,NULL}": plain([True, False, None])}),
    "blobs": Column(
        "bytea[]",
        None,
        {'{"\\\\x00ff",NULL,"\\\\x"}': {"L": [{"B": b"\x00\xff"}, NULL, {"B": b""}]}},
    ),
    "chars": Column("char(3)[]", None, {"{a,bc}": plain(["a  ", "bc "])}),
    "nets": Column("inet[]", None, {"{10.0.0.1}": plain(["10.0.0.1"])}),
    "boxes": Column("box[]", None, {"{(1,1),(0,0);(3,3),(2,2)}": plain(["(1,1),(0,0)", "(3,3),(2,2)"])}),
    "moods": Column("mood[]", None, {"{sad}": plain(["sad"])}),
    "prices": Column("dear[]", None, {"{101}": plain([101])}),
    "docs": Column(
        "jsonb[]",
        None,
        {'{"{\\"a\\": 1.0}",NULL,"null","\\"x\\""}': plain([{"a": 1}, None, None, "x"])},
    ),
    "pair": Column(
        "pair",
        None,
        {
            "(1,\"a,b\",\"{1,NULL}\")": plain({"a": 1, "b b": "a,b", "c": [1, None]}),
            '(2,"",{})': plain({"a": 2, "b b": "", "c": []}),
        },
        (Bad("(NaN,x,{})", "number_not_finite", {"M": {"a": S("NaN"), "b b": S("x"), "c": {"L": []}}}),),
    ),
    "pairs": Column(
        "pair[]",
        None,
        {'{"(1,x,{2})",NULL}': plain([{"a": 1, "b b": "x", "c": [2]}, None]), "{}": plain([])},
    ),
}  # fmt: skip

SCHEMA = (
    "CREATE TYPE mood AS ENUM ('sad', 'very, \"happy\"', '')",
    "CREATE DOMAIN price AS numeric(10,3) CHECK (VALUE >= 0)",
    "CREATE DOMAIN dear AS price CHECK (VALUE > 100)",
    'CREATE TYPE pair AS (a numeric, "b b" text, c int[])',
)

EXTENSIONS = ("CREATE EXTENSION citext", "CREATE EXTENSION hstore")
CONTRIB = {
    "xml": Column("xml", string, ['<a b="c">é &amp; \n</a>', "text <b/>"]),
    "citext": Column("citext", string, ["MiXed", "", HOSTILE]),
    "citexts": Column("citext[]", None, {'{A,NULL,""}': plain(["A", None, ""])}),
    "hstore": Column("hstore", string, ['"a"=>"1", "b"=>NULL']),
    "xmls": Column("xml[]", None, {"{<a/>}": plain(["<a/>"])}),
}
"""What only a PostgreSQL with libxml and the contrib modules has."""
