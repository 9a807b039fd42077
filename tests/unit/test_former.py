"""Rules are kept as they are, and only those that leave items behind."""

from dataclasses import replace
from decimal import Decimal

import pytest

from engine.job.items import ItemRule
from engine.state.former import dumped, former_rules, hidden_for_good, restored, told
from tests.unit.test_resume import RUN


def rule(**changes: object) -> ItemRule:
    made = {"name": "Order", "key": {"PK": "A#{id}"}, "attributes": {"Price": Decimal("1.50"), "Yes": True}}
    return ItemRule.model_validate(made | changes)


def test_rules_come_back_as_they_were() -> None:
    rules = (
        rule(),
        rule(name="All", include="all", exclude=["a"], when="a > 1", delete_when="b"),
        rule(name="Each", for_each="list", attributes={"n": {"value": "{each.n}", "as": "S"}}),
        rule(name="Sql", include=["a"], attributes={"number": {"sql": "lower(a)", "as": "S"}, "n": 5}),
    )
    assert restored(dumped(rules, {})) == rules


def test_only_keys_that_are_made_no_more_are_former() -> None:
    before = replace(RUN, rules=dumped([rule(), rule(name="B", key={"PK": "B#{id}"})], {}))
    assert former_rules(None, [rule()]) == ()
    assert former_rules(RUN, [rule()]) == (), "an earlier version kept no rules"
    assert former_rules(before, [rule(name="renamed"), rule(key={"PK": "B#{id}"})]) == ()
    (kept,) = former_rules(before, [rule(attributes={})])
    assert [each.name for each in restored(kept)] == ["B"]


def test_those_of_several_runs_before_are_kept_until_their_keys_are_back() -> None:
    first = replace(RUN, rules=dumped([rule()], {}))
    second = [rule(key={"PK": "B#{id}"})]
    third = [rule(key={"PK": "C#{id}"})]
    before = replace(RUN, rules=dumped(second, {}), former=former_rules(first, second))
    assert [restored(text)[0].key["PK"] for text in former_rules(before, third)] == ["A#{id}", "B#{id}"]
    assert [restored(text)[0].key["PK"] for text in former_rules(before, [rule()])] == ["B#{id}"]


SECRET = "s3cr3t-t0ken"


def test_a_value_from_the_environment_is_kept_as_a_digest_and_put_back() -> None:
    rules = (
        rule(key={"PK": f"{SECRET}#{{id}}"}, attributes={"Of": SECRET, "N": {"sql": f"lower('{SECRET}')"}}),
        rule(name="B", when=f"a <> '{SECRET}x'", key={"PK": "test#{id}"}),
    )
    kept = dumped(rules, {"TOKEN": SECRET, "STAGE": "test"})
    assert SECRET not in kept
    assert "test#" in kept, "a word is no secret"
    assert restored(kept, {"TOKEN": SECRET}) == rules
    assert hidden_for_good(kept, {"TOKEN": SECRET}) == []
    assert former_rules(replace(RUN, rules=kept), [rule(key={"PK": "test#{id}"})])[0].count(SECRET) == 0


def test_what_is_hidden_for_good_is_told_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    before = replace(RUN, rules=dumped([rule(key={"PK": f"{SECRET}#{{id}}"})], {"TOKEN": SECRET}))
    for value in ("another one", SECRET):
        monkeypatch.setenv("TOKEN", value)
        (former,) = former_rules(before, [rule()])
        assert "PK ${{TOKEN}}#{id}" in told(before, [former], "orders")
    assert hidden_for_good(former, {}) == hidden_for_good(former, {"TOKEN": "x"}) == ["TOKEN"]
    (made,) = restored(former, {})
    assert made.key == {"PK": "${{TOKEN}}#{id}"}
