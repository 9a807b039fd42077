"""What the server's catalogs say about a relation, its columns and its types. Reads only."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from connectors.postgres.settings import by_catalogs
from connectors.postgres.sql import Operators
from connectors.postgres.types import TypeRow
from engine.errors import JobError
from engine.frozen import dataclass


@dataclass(frozen=True, slots=True)
class CatalogColumn:
    """One column as the catalog has it. `dimensions` as declared, which PostgreSQL doesn't hold anyone to."""

    name: str
    type_oid: int
    typmod: int
    not_null: bool
    dimensions: int


@dataclass(frozen=True, slots=True)
class UniqueIndex:
    """A valid, immediate unique btree index over plain columns of all rows."""

    columns: tuple[str, ...]
    primary: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, view or the like. `kind` as pg_class.relkind; `inherited`: rows of other tables show up in it.

    Units: `pages` of 8 KB at this moment, partitions included.
    """

    oid: int
    schema: str
    name: str
    kind: str
    inherited: bool
    pages: int
    columns: tuple[CatalogColumn, ...]
    unique_indexes: tuple[UniqueIndex, ...]
    leading_columns: tuple[tuple[str, ...], ...]
    """The columns of every valid index, as far as they are plain columns."""
    unique_columns: tuple[tuple[str, ...], ...] = ()
    """Columns whose values, where none is null, no two rows share: an index tells them apart at all times."""

    def column(self, name: str) -> CatalogColumn | None:
        """Return the column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def primary(self) -> tuple[str, ...] | None:
        """The columns of the primary key, if there is one."""
        return next((index.columns for index in self.unique_indexes if index.primary), None)

    def is_indexed(self, names: Iterable[str]) -> bool:
        """Whether some index begins with exactly these columns, in any order."""
        wanted = set(names)
        return any(set(columns[: len(wanted)]) == wanted for columns in self.leading_columns)


def find_column(relation: Relation, name: str, key: str) -> CatalogColumn:
    """Return a column, or say which one was probably meant. Raises: JobError."""
    column = relation.column(name)
    if column is None:
        near = get_close_matches(name, [column.name for column in relation.columns], 1, 0.0)
        hint = f"; the nearest is {near[0]}" if near else ""
        raise JobError(f"{key}: {relation.name or 'the query'} has no column {name}{hint}")
    return column


def chosen(relation: Relation, names: Iterable[str] | None, key: str) -> list[CatalogColumn]:
    """Return the columns of these names, without any all of them. Raises: JobError."""
    return list(relation.columns) if names is None else [find_column(relation, name, key) for name in names]


# By the role's own search_path, so nothing else in it may be found by that.
_OID = "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid::pg_catalog.int8"

_RELATION = """
SELECT c.oid::int8, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
       (c.relkind <> 'p' AND EXISTS (SELECT FROM pg_inherits AS h WHERE h.inhparent = c.oid)) AS inherited,
       CASE WHEN c.relkind = 'p' THEN (SELECT coalesce(sum(pg_relation_size(relid)), 0)
                                       FROM pg_partition_tree(c.oid) WHERE isleaf)
            WHEN c.relkind IN ('r', 'm') THEN pg_relation_size(c.oid) ELSE 0 END::int8 / 8192 AS pages
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = $1::int8::oid
"""

# PostgreSQL 18 knows NOT NULL constraints that aren't validated: they prove nothing about older rows.
_COLUMNS = """
SELECT a.attname::text AS name, a.atttypid::int8 AS type_oid, a.atttypmod AS typmod,
       a.attnotnull AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = a.attrelid
           AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum] AND NOT k.convalidated) AS not_null,
       a.attndims::int4 AS dimensions
FROM pg_attribute AS a WHERE a.attrelid = $1::int8::oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""

# A column whose collation takes different texts for equal is only told apart, as it compares, by an index of
# that collation; that no two texts are the same to the letter, any index proves.
_INDEXES = """
SELECT i.indisprimary AS is_primary,
       (i.indisunique AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL AND m.amname = 'btree'
        AND NOT i.indisexclusion) AS is_unique,
       NOT EXISTS (
            SELECT FROM unnest(i.indkey::int2[], i.indcollation::oid[]) AS k (attnum, collation_oid)
            JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
            JOIN pg_collation AS c ON c.oid = a.attcollation AND NOT c.collisdeterministic
            WHERE k.collation_oid <> a.attcollation) AS as_compared,
       ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
             LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0
             WHERE k.n <= i.indnkeyatts ORDER BY k.n) AS columns
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_am AS m ON m.oid = c.relam
WHERE i.indrelid = $1::int8::oid AND i.indisvalid ORDER BY i.indexrelid
"""

# int2vector and oidvector have elements, but print like no array: only a type that is its element's array
# type counts as one.
_TYPES = """
SELECT t.oid::int8, CASE WHEN n.nspname = 'pg_catalog' THEN t.typname::text ELSE '' END AS name,
       t.typtype::text, t.typcategory::text AS category, t.typdelim::text AS delimiter,
       coalesce((SELECT e.oid FROM pg_type AS e WHERE e.oid = t.typelem AND e.typarray = t.oid), 0)::int8
           AS element,
       t.typbasetype::int8 AS base, t.typtypmod AS base_typmod, t.typrelid::int8 AS relation,
       format_type(t.oid, -1) AS written, format('%I.%I', n.nspname, t.typname) AS qualified,
       ARRAY(SELECT format('OPERATOR(%I.%s)', s.nspname, f.oprname)
             FROM pg_opclass AS o JOIN pg_am AS m ON m.oid = o.opcmethod
             JOIN pg_amop AS a ON a.amopfamily = o.opcfamily AND a.amoplefttype = o.opcintype
                 AND a.amoprighttype = o.opcintype AND a.amoppurpose = 's'
             JOIN pg_operator AS f ON f.oid = a.amopopr JOIN pg_namespace AS s ON s.oid = f.oprnamespace
             WHERE m.amname = 'btree' AND o.opcdefault AND o.opcintype = t.oid
             ORDER BY a.amopstrategy) AS operators,
       ARRAY(SELECT e.enumlabel::text FROM pg_enum AS e WHERE e.enumtypid = t.oid) AS labels
FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace WHERE t.oid = ANY ($1::int8[]::oid[])
"""


async def relation(connection: Any, name: str) -> Relation | None:
    """Look a relation up by the name that a user writes, which is folded as SQL folds names."""
    oid = await connection.fetchval(_OID, name)
    if oid is None:
        return None
    async with by_catalogs(connection):
        return await _relation(connection, oid)


async def _relation(connection: Any, oid: int) -> Relation | None:
    row = await connection.fetchrow(_RELATION, oid)
    if row is None:
        return None
    columns = tuple(CatalogColumn(*found) for found in await connection.fetch(_COLUMNS, row["oid"]))
    not_null = {column.name for column in columns if column.not_null}
    indexes = await connection.fetch(_INDEXES, row["oid"])
    proving = [index for index in indexes if index["is_unique"] and not row["inherited"]]
    unique = tuple(
        UniqueIndex(tuple(index["columns"]), index["is_primary"])
        for index in proving
        if index["as_compared"] and not_null.issuperset(index["columns"])
    )
    leading = tuple(tuple(name if name is not None else "" for name in index["columns"]) for index in indexes)
    return Relation(
        row["oid"], row["schema"], row["name"], row["kind"], row["inherited"], row["pages"], columns, unique,
        leading, tuple(dict.fromkeys(tuple(index["columns"]) for index in proving)),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Types:
    """Types and all that they are made of. `names`: as PostgreSQL writes them; `casts`: as SQL finds them."""

    rows: Mapping[int, TypeRow]
    names: Mapping[int, str]
    casts: Mapping[int, str]
    ordered: Mapping[int, Operators]
    """Types with a default btree operator class of their own."""

    def base(self, oid: int) -> TypeRow:
        """Return the type below all domains."""
        row = self.rows[oid]
        while row.typtype == "d":
            row = self.rows[row.base]
        return row

    def operators(self, oid: int) -> Operators:
        """Return what compares a type's values; pg_catalog's where it has no class of its own."""
        return self.ordered.get(self.base(oid).oid, Operators())

    def equality(self, oid: int, other: int) -> str:
        """Return the operator that joins values of two types, the role's own where no catalog tells."""
        left, right = self.base(oid), self.base(other)
        if left.oid == right.oid:
            return self.operators(oid).equal
        return Operators().equal if left.name and right.name else "="


async def types(connection: Any, oids: Iterable[int]) -> Types:
    """Load types with their elements, base types and attributes, to any depth."""
    async with by_catalogs(connection):
        return await _types(connection, oids)


async def _types(connection: Any, oids: Iterable[int]) -> Types:
    rows: dict[int, TypeRow] = {}
    names: dict[int, str] = {}
    casts: dict[int, str] = {}
    ordered: dict[int, Operators] = {}
    wanted = set(oids)
    while wanted:
        for row in await connection.fetch(_TYPES, sorted(wanted)):
            attributes: tuple[tuple[str, int, int], ...] = ()
            if row["typtype"] == "c":
                found = await connection.fetch(_COLUMNS, row["relation"])
                attributes = tuple((each["name"], each["type_oid"], each["typmod"]) for each in found)
            rows[row["oid"]] = TypeRow(
                row["oid"], row["name"], row["typtype"], row["category"], row["delimiter"], row["element"],
                row["base"], row["base_typmod"], attributes, tuple(row["labels"]),
            )  # fmt: skip
            names[row["oid"]], casts[row["oid"]] = row["written"], row["qualified"]
            if row["operators"]:
                ordered[row["oid"]] = Operators(*row["operators"])
        reached = {
            part
            for row in rows.values()
            for part in (row.element, row.base, *(type_ for _, type_, _ in row.attributes))
            if part
        }
        missing = reached - rows.keys()
        assert not wanted & missing, f"types {sorted(wanted & missing)} are missing from pg_type"
        wanted = missing
    return Types(rows, names, casts, ordered)
