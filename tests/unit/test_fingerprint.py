"""A checkpoint of another job would skip rows that the target never got."""

import pytest

from connectors.postgres.section import PostgresSection
from engine.contracts.transform import Attribute, RuleShape
from engine.kinds import Decimal, Kind, ListOf, Scalar
from engine.state.fingerprint import attributes, compare, fingerprint, relation, upgraded

NOW = fingerprint(
    {"source": "aa", "mapping": "bb", "target": "cc"},
    {"database": "shop", "table": "public.orders"},
    {"arn": "arn:aws:dynamodb:us-east-1:1:table/t", "created_at": "2026-01-01T00:00:00Z"},
)


def test_the_same_job_goes_on():
    assert compare(dict(NOW), NOW) is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("source", "a0", "the source changed"),
        ("mapping", "b0", "the mapping changed"),
        ("target", "c0", "the target changed"),
        ("source.database", "shop2", r"the source changed \(database was shop2, is shop\)"),
        ("target.created_at", "2025", r"the target changed \(created_at was 2025, is 2026-01-01T00:00:00Z\)"),
    ],
)
def test_the_part_that_changed_is_named_with_both_ways_on(name, value, said):
    error = compare({**NOW, name: value}, NOW)
    assert error is not None
    with pytest.raises(type(error), match=said + r"\. Put back what was there to go on, or .* --fresh"):
        raise error
    assert error.exit_code == 2


def test_several_changes_are_all_named():
    error = compare({**NOW, "mapping": "b0", "source.table": "public.users"}, NOW)
    assert "source changed (table was public.users, is public.orders); the mapping changed" in str(error)


def test_another_key_makes_cursors_other_positions_but_concerns_no_catch_up():
    stored, now = {**NOW, "source.key": "id integer"}, {**NOW, "source.key": "other integer"}
    assert "source changed (key was id integer, is other integer)" in str(compare(stored, now))
    assert compare(stored, now, goes_on=False) is None
    assert compare({**stored, "mapping": "b0"}, now, goes_on=False) is not None


def test_what_the_source_takes_for_the_same_positions_is_no_change():
    stored, now = {**NOW, "source.key": "id integer, at date"}, {**NOW, "source.key": "id bigint, at date"}
    assert compare(stored, now) is not None
    same = PostgresSection(type="postgres", url="postgresql://h/d", table="t").same_positions
    assert compare(stored, now, same_positions=same) is None
    other = {**NOW, "source.key": "at bigint, id date"}
    assert compare(stored, other, same_positions=same) is not None


def test_a_part_that_only_one_side_knows_is_a_change():
    assert "other changed" in str(compare({**NOW, "other": "x"}, NOW))
    stored = {name: value for name, value in NOW.items() if name != "target.arn"}
    assert "arn was not known" in str(compare(stored, NOW))


def test_a_digest_of_an_earlier_version_counts_as_todays_of_the_same_job():
    stored = {**NOW, "source": "former"}
    assert compare(stored, NOW) is not None
    assert compare(upgraded(stored, {"source": "former"}, NOW), NOW) is None
    assert compare(upgraded(stored, {"source": "of another column"}, NOW), NOW) is not None


def shape(**kinds: Kind) -> dict[str, str]:
    named = tuple(Attribute(name, kind) for name, kind in kinds.items())
    return {**NOW, **attributes([RuleShape("Order", named)])}


def test_columns_that_make_other_items_end_a_run_but_no_catch_up():
    stored = shape(a=Scalar.INT, b=Scalar.STRING, c=Decimal(10, 2))
    now = shape(a=Scalar.NUMBER, c=Decimal(12, 2), d=ListOf(Scalar.STRING))
    said = str(compare(stored, now))
    assert (
        "the mapping changed (the source's columns make other attributes:"
        " Order.a was int, is number, Order.b is gone, Order.d is new)" in said
    )
    assert compare(stored, now, goes_on=False) is None


def test_columns_that_make_the_same_items_change_nothing():
    assert compare(shape(c=Decimal(10, 2)), shape(c=Scalar.NUMBER)) is None
    assert compare(NOW, shape(a=Scalar.INT)) is None, "attributes that one side doesn't know aren't compared"


def test_a_message_about_many_columns_stays_short():
    now = shape(**{f"column{n}": Scalar.INT for n in range(40)})
    assert "Order.column4 is new and 35 more" in str(compare(shape(), now))


def test_the_same_table_id_is_the_same_table_whatever_the_time_says() -> None:
    stored = {**NOW, "target.id": "5eed", "target.created_at": "2025"}
    assert compare(stored, {**NOW, "target.id": "5eed"}) is None
    assert "id was 5eed, is other" in str(compare(stored, {**NOW, "target.id": "other"}))


def test_a_table_id_that_an_earlier_version_did_not_keep_is_no_change() -> None:
    assert compare(NOW, {**NOW, "target.id": "5eed"}) is None
    assert compare({**NOW, "target.created_at": "2025"}, {**NOW, "target.id": "5eed"}) is not None


def test_of_a_query_a_digest_is_kept_and_the_text_of_earlier_versions_is_understood():
    text = "query SELECT id FROM t WHERE token = 'hunter2'"
    kept = relation(text)
    assert "hunter2" not in kept
    assert (relation(kept), relation("public.t#16386")) == (kept, "public.t#16386")
    stored, now = {**NOW, "source.relation": text}, {**NOW, "source.relation": kept}
    assert compare(upgraded(stored, {}, now), now) is None
    other = {**NOW, "source.relation": f"{text} AND true"}
    assert compare(upgraded(other, {}, now), now) is not None
