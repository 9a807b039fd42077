"""What is said of a table's load: no more words than there is reason for."""

from dataclasses import replace

from connectors.dynamodb.planning.forecast import Cost, Forecast, LoadTime, PlannedTable
from connectors.dynamodb.planning.hot_keys import HotKey
from connectors.dynamodb.planning.prices import load_prices
from connectors.dynamodb.planning.words import advise, warn
from tests.unit.test_dynamodb_forecast import table, volume


def forecast(*, exists: bool = True, **changes: object) -> Forecast:
    quick = LoadTime(10.0, 4_000, "")
    plain = Forecast(
        planned=PlannedTable(table(), exists, "put", None, load_prices(None)),
        writes={"": 1.0, "ByEmail": 1.0},
        volume=volume(1, 1),
        cost=Cost(0.1, 0.1, 0.1, 0.1),
        now=quick,
        warm=quick,
        capped=None,
        warmed=False,
        hot=(),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_nothing_is_said_without_reason() -> None:
    assert advise(forecast()) == warn(forecast()) == []


def test_warming_is_advised_where_it_helps() -> None:
    slow, fast = LoadTime(9_000.0, 4_000, ""), LoadTime(900.0, 40_000, "")
    assert "WarmThroughput" in advise(forecast(now=slow, warm=fast))[0]
    assert "warm_throughput" in advise(forecast(now=slow, warm=fast, exists=False))[0]
    assert advise(forecast(now=slow, warm=fast, warmed=True)) == []


def test_a_hot_key_is_warned_of() -> None:
    hot = HotKey("ByEmail", "ALL", 0.9, 9_000.0)
    now = LoadTime(9_000.0, 4_000, "ByEmail", "ALL")
    (said,) = warn(forecast(hot=(hot,), now=now))
    assert "90 % of the writes of index ByEmail have the partition key ALL" in said
    assert "no capacity helps" in advise(forecast(hot=(hot,), now=now, warm=now))[0]


def test_how_long_the_load_takes_follows_the_slower_of_table_and_cap() -> None:
    assert forecast().load_s == forecast(capped=LoadTime(1.0, 40_000, "")).load_s == 10
    assert forecast(capped=LoadTime(9_000.0, 5, "")).load_s == 9_000


def test_a_cap_that_makes_it_much_slower_is_named() -> None:
    said = advise(forecast(capped=LoadTime(7_200.0, 5, "")))
    assert said[0].startswith("target.max_wcu makes it 2 h")
