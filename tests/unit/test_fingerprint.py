"""A checkpoint of another job would skip rows that the target never got."""

import pytest

from engine.state.fingerprint import compare, fingerprint

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
    with pytest.raises(type(error), match=said + r"\. Put the old job back to go on, or .* --fresh"):
        raise error
    assert error.exit_code == 2


def test_several_changes_are_all_named():
    error = compare({**NOW, "mapping": "b0", "source.table": "public.users"}, NOW)
    assert "source changed (table was public.users, is public.orders); the mapping changed" in str(error)


def test_another_key_makes_cursors_other_positions_but_concerns_no_catch_up():
    stored, now = {**NOW, "source.key": "id integer"}, {**NOW, "source.key": "other integer"}
    assert "source changed (key was id integer, is other integer)" in str(compare(stored, now))
    assert compare(stored, now, positions=False) is None
    assert compare({**stored, "mapping": "b0"}, now, positions=False) is not None


def test_a_part_that_only_one_side_knows_is_a_change():
    assert "other changed" in str(compare({**NOW, "other": "x"}, NOW))
    stored = {name: value for name, value in NOW.items() if name != "target.arn"}
    assert "arn was not known" in str(compare(stored, NOW))
