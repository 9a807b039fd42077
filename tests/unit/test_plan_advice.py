"""Advice: losses first, a way out for each, and no more words than there is reason for."""

from dataclasses import replace

from engine.commands.plan.advice import advise
from engine.commands.plan.collisions import NO_COLLISIONS, Collisions
from engine.commands.plan.key_ways import KeyWay
from engine.commands.plan.plan import Plan, SourceFacts
from engine.commands.plan.tally import Tally
from engine.commands.plan.view import render, together
from engine.contracts.planning import TargetPlan

SETTLED = KeyWay("R", "settled", "the key may repeat", "a second reading", "make it longer")


def plan(*, exists: bool = True, keys: tuple[KeyWay, ...] = (), **changes: object) -> Plan:
    of_target = TargetPlan("shop", {}, {}, advice=["Buy."], ways_out={"too_red": "paint it"})
    plain = Plan(
        job="j",
        source=SourceFacts("t", 200, "counted", None, 1, None),
        into="shop",
        exists=exists,
        target=of_target,
        tally=Tally(["R"], ["id"]),
        scale=2.0,
        whole=False,
        collisions=NO_COLLISIONS,
        coverage="sample",
        keys=keys,
        warnings=(),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_nothing_in_the_way_is_said_in_one_sentence_behind_the_targets_own() -> None:
    assert advise(plan()) == ["Buy.", "Nothing stands in the way: `backfill run`."]
    assert advise(plan(exists=False))[1:] == [
        "Nothing stands in the way: `backfill table create`, then `backfill run`."
    ]


def test_losses_come_first_with_their_ways_out() -> None:
    tally = Tally(["R"], ["id"])
    tally.rules["R"].flaws.update({"too_red": 21, "torn": 1})
    said = advise(plan(tally=tally, collisions=Collisions(1, 2, ()), keys=(SETTLED,)))
    assert said[0].startswith("1 key in the sample alone would be written more than once, and 2 items")
    assert said[0].endswith("overwritten: the key may repeat; make it longer.")
    assert said[1] == "Rule R: about 42 items would be dead letters (too_red): paint it."
    assert said[2].endswith("(torn): mend the rows, the rule, or leave such rows out with `when`.")
    assert said[3] == "Buy."
    assert said[-1].startswith("Mend that first")


def test_one_is_one() -> None:
    tally = Tally(["R"], ["id"])
    tally.rules["R"].flaws.update({"torn": 1})
    assert advise(plan(tally=tally, scale=1.0, whole=True))[0].startswith(
        "Rule R: 1 item would be a dead letter"
    )


def test_short_words_are_whole_on_a_narrow_terminal() -> None:
    tally = Tally(["AVeryLongNameOfRule"], ["id"])
    tally.rules["AVeryLongNameOfRule"].flaws.update({"value_unsupported": 1})
    tally.rules["AVeryLongNameOfRule"].examples["value_unsupported"] = [("x" * 200, {"id": "7"})]
    shown = render(plan(tally=tally), width=80, colour=False)
    assert any("value_unsupported" in line and "AVeryLongNameOfRule" in line for line in shown.splitlines())


def test_what_several_jobs_come_to_is_said_in_one_line() -> None:
    target = TargetPlan("shop", {}, {}, load_s=90.0, sums={"write units": 1500.0, "USD on demand": 0.25})
    both = together([plan(target=target), plan(target=target)])
    assert both == (
        "together: 2 jobs, 400 rows, 0 items, 0 dead letters, 3,000 write units, 0.50 USD on demand;"
        " 3 min 00 s one after the other"
    )
    assert "one after the other" not in together([plan(), plan(target=target)])


def test_a_sample_is_no_proof() -> None:
    said = advise(plan(keys=(SETTLED,)))
    assert "`backfill plan --full` looks at every row" in said[1]
    assert "--full" not in " ".join(advise(plan(keys=(SETTLED,), whole=True)))
