"""A schema in which hardly anything means what it is called: catalogs, functions, operators, types, casts."""

CATALOGS = {
    "class": "oid oid, relname name, relnamespace oid, relkind char, relam oid, reltuples real",
    "namespace": "oid oid, nspname name",
    "attribute": "attrelid oid, attname name, atttypid oid, atttypmod int4, attnotnull bool, attndims int2,"
    " attnum int2, attisdropped bool, attcollation oid",
    "type": "oid oid, typname name, typnamespace oid, typtype char, typelem oid",
    "index": "indrelid oid, indexrelid oid",
    "opclass": "oid oid, opcmethod oid, opcintype oid",
    "inherits": "inhrelid oid, inhparent oid",
    "stat_activity": "pid int, xact_start timestamptz",
}
FUNCTIONS = {
    "to_json(text[])": "json",
    "to_json(json)": "json",
    "to_json(json[])": "json",
    "format_type(oid, int4)": "text",
    "to_regclass(text)": "regclass",
    "array_ndims(anyarray)": "int4",
    "random()": "float8",
    "md5(text)": "text",
    "quote_ident(text)": "text",
    "left(text, int4)": "text",
    "format(text, int4)": "text",
    "format(text, text)": "text",
    "format(text, public.mood)": "text",
    "pg_is_in_recovery()": "bool",
    "current_database()": "name",
    "pg_export_snapshot()": "text",
    "pg_relation_size(regclass)": "int8",
    "pg_table_size(regclass)": "int8",
    "clock_timestamp()": "timestamptz",
    "to_char(timestamp, text)": "text",
    "concat(text, text)": "text",
    "decode(text, text)": "bytea",
}
COMPARED = (
    "int4, int4", "int8, int8", "int8, int4", "text, text", "oid, oid", "name, name", "bool, bool",
    '"char", "char"', "timestamptz, timestamptz", "float8, numeric", "float8, float8", "int2, int2",
    "public.mood, public.mood",
)  # fmt: skip
TYPES = ("text", "int8", "int4", "oid", "timestamptz", "json", "bytea")


def shadows(schema: str) -> str:
    """Return the statements that make it. An enum `public.mood` is there, and its cast to text lies then."""
    said = [f"CREATE SCHEMA {schema}; SET search_path = pg_catalog"]
    said += [f"CREATE TABLE {schema}.pg_{name} ({columns})" for name, columns in CATALOGS.items()]
    said += [
        f"CREATE FUNCTION {schema}.{name} RETURNS {what} LANGUAGE sql AS 'SELECT NULL::{what}'"
        for name, what in FUNCTIONS.items()
    ]
    said += [
        f"CREATE AGGREGATE {schema}.count(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '-9')",
        f"CREATE FUNCTION {schema}.none(json, json) RETURNS json LANGUAGE sql AS 'SELECT NULL::json'",
        f"CREATE AGGREGATE {schema}.json_agg(json) (SFUNC = {schema}.none, STYPE = json)",
        f"CREATE FUNCTION {schema}.one(int8, int8) RETURNS int8 LANGUAGE sql AS 'SELECT 1::int8'",
        "CREATE FUNCTION public.moody(public.mood) RETURNS text LANGUAGE sql AS $$SELECT 'moody'::text$$",
        "CREATE CAST (public.mood AS text) WITH FUNCTION public.moody(public.mood)",
    ]
    said += [_operator(schema, sign, "int8, int8", "one") for sign in "*/-"]
    for n, types in enumerate(COMPARED):
        said.append(f"CREATE FUNCTION {schema}.no{n}({types}) RETURNS bool LANGUAGE sql AS 'SELECT false'")
        said += [_operator(schema, sign, types, f"no{n}") for sign in ("=", "<>", "<", "<=", ">", ">=")]
    said += [f"CREATE DOMAIN {schema}.{name} AS bool" for name in TYPES]
    return ";\n".join(said)


def _operator(schema: str, sign: str, types: str, function: str) -> str:
    left, right = types.split(", ")
    what = f"LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = {schema}.{function}"
    return f"CREATE OPERATOR {schema}.{sign} ({what})"
