"""The statements: quoting, ranges, groups. The server has the last word on them, in tests/integration."""

import pytest

from connectors.postgres.quoting import enclosed, identifier, literal
from connectors.postgres.segments import SAMPLED_PAGES_MAX, between, sample_percent, unfiltered
from connectors.postgres.sql import (
    KeyColumn,
    Operators,
    ReadColumn,
    Shape,
    boundaries_sql,
    copy_sql,
    lookup_sql,
    nulls_sql,
)
from connectors.postgres.types import Printed
from engine.batch import Cursor, Segment
from engine.kinds import Scalar

A = KeyColumn("a", 't."a"', "bigint", "pg_catalog.int8", nullable=False)
B = KeyColumn("b", 't."b"', "text", "pg_catalog.text", nullable=False)
OF_EXT = Operators(*(f"OPERATOR(ext.{sign})" for sign in ("<", "<=", "=", ">=", ">")))
C = KeyColumn("c", 't."c"', "ext.citext", "ext.citext", nullable=False, operators=OF_EXT)


def shape(
    *key: KeyColumn, unique: bool = True, filters: tuple[str, ...] = (), pages: int = 0, samples: bool = True
) -> Shape:
    column = ReadColumn("v", 't."v"', Printed(Scalar.STRING))
    return Shape((column,), "t", samples, pages, filters, key, unique)


def test_literals_and_identifiers_cannot_be_left() -> None:
    assert literal("it's") == "'it''s'"
    assert literal("\\'; DROP") == " E'\\\\''; DROP'"
    assert identifier('a"b') == '"a""b"'
    assert enclosed("a = 1 -- why") == "(a = 1 -- why\n)"


def test_a_segment_reads_behind_its_lower_and_up_to_its_upper_bound() -> None:
    segment = Segment(0, Cursor(("1",)), Cursor(("9",)), None)
    assert copy_sql(shape(A), segment, None) == (
        'SELECT t."v" FROM t WHERE t."a" OPERATOR(pg_catalog.>) \'1\'::pg_catalog.int8'
        ' AND t."a" OPERATOR(pg_catalog.<=) \'9\'::pg_catalog.int8 ORDER BY t."a"'
    )


def test_a_cursor_inside_the_segment_is_its_lower_bound() -> None:
    segment = Segment(0, Cursor(("1", "x")), None, None)
    sql = copy_sql(shape(A, B, filters=("(z\n)",)), segment, Cursor(("5", "y'")))
    assert sql == (
        'SELECT t."v" FROM t WHERE (z\n) AND (t."a", t."b") OPERATOR(pg_catalog.>)'
        " ('5'::pg_catalog.int8, 'y'''::pg_catalog.text)"
        ' ORDER BY t."a", t."b"'
    )


def test_columns_with_operators_of_their_own_are_compared_one_by_one() -> None:
    key = shape(A, C)
    low, high = Cursor(("1", "x")), Cursor(("2", "y"))
    sql = copy_sql(key, Segment(0, low, high, None), None).replace("pg_catalog.", "")
    assert sql.partition(" WHERE ")[2].partition(" ORDER ")[0].replace('t."a"', "a").replace(
        't."c"', "c"
    ) == (
        "a OPERATOR(>=) '1'::int8 AND (a OPERATOR(>) '1'::int8 OR (a OPERATOR(=) '1'::int8"
        " AND c OPERATOR(ext.>) 'x'::ext.citext)) AND a OPERATOR(<=) '2'::int8 AND (a OPERATOR(<) '2'::int8"
        " OR (a OPERATOR(=) '2'::int8 AND c OPERATOR(ext.<=) 'y'::ext.citext))"
    )
    assert lookup_sql(key, [low, high]).count("OPERATOR(ext.=)") == 2
    assert "OPERATOR(ext.=) ANY (VALUES ('x'::ext.citext))" in lookup_sql(shape(C), [Cursor(("x",))])


def test_without_a_key_nothing_is_sorted() -> None:
    assert copy_sql(shape(), Segment(0, None, None, None), None) == 'SELECT t."v" FROM t'


def test_a_key_that_may_repeat_marks_where_it_changes() -> None:
    sql = copy_sql(shape(A, unique=False), Segment(0, None, None, None), None)
    assert '(pg_catalog.lag(t."a") OVER w OPERATOR(pg_catalog.=) t."a") IS NOT TRUE' in sql
    assert 'WINDOW w AS (ORDER BY t."a")' in sql


def test_a_cursor_of_another_key_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="another key"):
        copy_sql(shape(A), Segment(0, None, None, None), Cursor(("1", "2")))


def test_checks_look_at_the_same_rows() -> None:
    assert nulls_sql(shape(A, filters=("x",)), A).endswith('FROM t WHERE x AND t."a" IS NULL)')
    sql = boundaries_sql(shape(A, B, filters=("x",)), 4, 2.5)
    assert "TABLESAMPLE pg_catalog.system (2.500000000) REPEATABLE" in sql
    assert " WHERE x)" in sql
    assert "TABLESAMPLE" not in boundaries_sql(shape(A), 4, None)


def test_only_tables_much_larger_than_the_sample_are_sampled() -> None:
    assert sample_percent(shape(A, pages=1_000), 4) is None
    assert sample_percent(shape(A, pages=1_000_000), 4) == 0.8
    assert sample_percent(shape(A, pages=1_000_000), 64) == 3.2
    assert sample_percent(shape(A, pages=1_000_000, samples=False), 4) is None


@pytest.mark.parametrize("wanted", [4_000, 100_000])
def test_what_cutting_reads_does_not_grow_with_the_segments(wanted: int) -> None:
    """4,000 segments took 2 million pages, 16 GB, before the first write."""
    percent = sample_percent(shape(A, pages=10_000_000), wanted)
    assert percent == 100 * SAMPLED_PAGES_MAX / 10_000_000
    assert SAMPLED_PAGES_MAX * 8_192 < 600 * 2**20


def test_what_cuts_by_all_rows_leaves_out_keys_that_are_null() -> None:
    key = KeyColumn("a", 't."a"', "bigint", "pg_catalog.int8", nullable=True)
    sql = boundaries_sql(unfiltered(shape(key, B, filters=("x",))), 4, 1.0)
    assert ' WHERE t."a" IS NOT NULL) AS looked_at' in sql


def test_segments_between_boundaries_cover_everything_once() -> None:
    segments = between([(("10",), 25), (("20",), 50), (("30",), 75)], 100, 1_000_000)
    assert [(s.after, s.until) for s in segments] == [
        (None, Cursor(("10",))),
        (Cursor(("10",)), Cursor(("20",))),
        (Cursor(("20",)), Cursor(("30",))),
        (Cursor(("30",)), None),
    ]
    assert [segment.number for segment in segments] == [0, 1, 2, 3]
    assert {segment.rows_expected for segment in segments} == {250_000}


def test_a_key_that_fills_several_parts_makes_one_segment() -> None:
    segments = between([(("1",), 25), (("1",), 50), (("1",), 75)], 100, 100)
    assert [(s.after, s.until, s.rows_expected) for s in segments] == [
        (None, Cursor(("1",)), 25),
        (Cursor(("1",)), None, 75),
    ]


def test_no_boundary_leaves_one_open_segment() -> None:
    assert between([], 0, None) == [Segment(0, None, None, None)]
