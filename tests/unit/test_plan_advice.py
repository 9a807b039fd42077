"""Advice: losses first, a way out for each, and no more words than there is reason for."""

from dataclasses import replace

from engine.commands.plan.advice import Findings, advise, expected_s, warn
from engine.commands.plan.collisions import NO_COLLISIONS, Collisions
from engine.commands.plan.estimate import Cost, Pace
from engine.commands.plan.heat import HotKey
from engine.commands.plan.tally import Tally
from tests.unit.test_plan_estimate import table, volume


def findings(**changes: object) -> Findings:
    quick = Pace(10.0, 4_000, "")
    plain = Findings(
        table=table(),
        exists=True,
        tally=Tally(["R"], ["ByEmail"]),
        scale=2.0,
        whole=False,
        full=False,
        volume=volume(1, 1),
        cost=Cost(0.1, 0.1, 0.1, 0.1),
        now=quick,
        warm=quick,
        capped=None,
        hot=(),
        collisions=NO_COLLISIONS,
        ordered_reason=None,
        warmed=False,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_nothing_in_the_way_is_said_in_one_sentence() -> None:
    assert advise(findings()) == ["Nothing stands in the way: `backfill run`."]
    assert advise(findings(exists=False)) == [
        "Nothing stands in the way: `backfill table create`, then `backfill run`."
    ]
    assert warn(findings()) == []


def test_losses_come_first_with_their_ways_out() -> None:
    tally = Tally(["R"], [])
    tally.rules["R"].flaws["number_not_finite"] = 21
    said = advise(findings(tally=tally, collisions=Collisions(1, 2, ()), now=Pace(9_000, 4_000, "ByEmail")))
    assert said[0].startswith("1 key in the sample alone would be written more than once, and 2 items")
    assert said[1].startswith("Rule R: about 42 items would be dead letters")
    assert "options.numbers" in said[1]
    assert said[-1].startswith("Mend that first")


def test_a_sample_is_no_proof() -> None:
    said = advise(findings(ordered_reason="the key may repeat"))
    assert "`backfill plan --full` looks at every row" in said[0]
    assert "--full" not in " ".join(advise(findings(ordered_reason="the key may repeat", full=True)))


def test_warming_is_advised_where_it_helps() -> None:
    slow, fast = Pace(9_000.0, 4_000, ""), Pace(900.0, 40_000, "")
    assert "WarmThroughput" in advise(findings(now=slow, warm=fast))[0]
    assert "warm_throughput" in advise(findings(now=slow, warm=fast, exists=False))[0]
    assert "Nothing" in advise(findings(now=slow, warm=fast, warmed=True))[0]


def test_a_hot_key_is_warned_of() -> None:
    hot = HotKey("ByEmail", "ALL", 0.9, 9_000.0)
    now = Pace(9_000.0, 4_000, "ByEmail", "ALL")
    (said,) = warn(findings(hot=(hot,), now=now))
    assert "90 % of the writes of index ByEmail have the partition key ALL" in said
    assert "no capacity helps" in advise(findings(hot=(hot,), now=now, warm=now))[0]


def test_how_long_a_snapshot_is_read_follows_the_slower_of_table_and_cap() -> None:
    quick, slow = Pace(10.0, 4_000, ""), Pace(9_000.0, 5, "")
    assert expected_s(quick, None) == expected_s(quick, Pace(1.0, 40_000, "")) == 10
    assert expected_s(quick, slow) == 9_000


def test_a_cap_that_makes_it_much_slower_is_named() -> None:
    said = advise(findings(capped=Pace(7_200.0, 5, "")))
    assert said[0].startswith("target.max_wcu makes it 2 h")
