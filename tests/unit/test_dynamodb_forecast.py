"""From a sample to the whole load: time and money."""

from dataclasses import replace
from pathlib import Path

import pytest

from connectors.dynamodb.connector import CONNECTOR
from connectors.dynamodb.planning.forecast import (
    DOUBLING_S,
    Volume,
    cost,
    doubling_s,
    time_at,
    time_capped,
    time_now,
)
from connectors.dynamodb.planning.hot_keys import HotKey
from connectors.dynamodb.planning.prices import load_prices
from connectors.dynamodb.section import DynamoDBSection
from connectors.dynamodb.table_info import TableInfo
from connectors.dynamodb.table_request import planned_table
from engine.errors import JobError


def table(**create: object) -> TableInfo:
    gsi = [{"name": "ByEmail", "partition_key": "Email"}]
    section = {"type": "dynamodb", "table": "shop", "create": {"gsi": gsi, **create}}
    return planned_table(DynamoDBSection.model_validate(section))


def volume(own: float, index: float) -> Volume:
    return Volume({"": own, "ByEmail": index}, 10e9, 100e9)


def test_the_slower_of_table_and_index_sets_the_time() -> None:
    provisioned = table(billing="provisioned", write_capacity=100, read_capacity=1)
    assert time_now(volume(1_000, 3_000), provisioned, ()).seconds == 30
    assert time_now(volume(1_000, 3_000), provisioned, ()).bound_by == "ByEmail"
    assert time_at(volume(8_000, 3_000), provisioned, 40_000, ()).bound_by == ""


def test_a_local_index_draws_on_the_table() -> None:
    info = table(billing="provisioned", write_capacity=100, read_capacity=1)
    local = replace(info, indexes=(replace(info.indexes[0], local=True, write_capacity=None),))
    assert time_now(volume(1_000, 3_000), local, ()).seconds == 40


def test_on_demand_may_double_every_half_hour() -> None:
    assert doubling_s(4_000 * 60, 4_000, 40_000) == 60
    one_step = 4_000 * DOUBLING_S
    assert doubling_s(one_step + 8_000 * 60, 4_000, 40_000) == DOUBLING_S + 60
    assert doubling_s(one_step + 5_000 * 60, 4_000, 5_000) == DOUBLING_S + 60, "its own maximum holds"
    assert doubling_s(4e9, 4_000, 4_000) == 1e6


def test_a_warmed_table_starts_where_it_is_warm() -> None:
    warm = time_now(volume(400_000, 0), table(warm_throughput={"write": 40_000}), ())
    assert (warm.seconds, warm.wcu_per_s) == (10, 40_000)


def test_one_hot_key_bounds_every_time() -> None:
    hot = [HotKey("ByEmail", "ALL", 1.0, 500.0)]
    for time in (
        time_now(volume(4_000, 4_000), table(), hot),
        time_at(volume(4_000, 4_000), table(), 9e9, hot),
    ):
        assert (time.seconds, time.bound_by, time.key) == (500.0, "ByEmail", "ALL")


def test_the_cap_counts_the_tables_own_units() -> None:
    now = time_now(volume(100_000, 400_000), table(), ())
    assert time_capped(now, volume(100_000, 400_000), table(), 100).seconds == 1_000
    assert time_capped(now, volume(100_000, 400_000), table(), 1e9) == now, "a cap makes nothing faster"


def test_what_it_costs_and_that_replicas_cost_too() -> None:
    prices = load_prices(None)
    once = cost(volume(1e6, 1e6), table(), prices)
    assert once.on_demand == pytest.approx(1.25)
    assert once.provisioned == pytest.approx(2e6 / 3600 * 0.00065)
    assert once.s3_import == pytest.approx(1.5)
    assert once.storage_month == pytest.approx(25.0)
    twice = cost(volume(1e6, 1e6), replace(table(), replicas=("eu-west-1",)), prices)
    assert twice.on_demand == pytest.approx(2.5)


def test_a_run_counts_what_its_units_cost_as_the_plan_does() -> None:
    provisioned = table(billing="provisioned", write_capacity=100, read_capacity=1)
    for info in (table(), provisioned, replace(table(), replicas=("eu-west-1",))):
        planned = cost(volume(1e6, 1e6), info, load_prices(None))
        assert CONNECTOR.unit_usd(info) * 2e6 == pytest.approx(getattr(planned, info.billing))


def test_another_price_list(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    text = Path("connectors/dynamodb/planning/prices.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("0.625", "1.0"), encoding="utf-8")
    assert load_prices(path).write_units_per_million == 1.0
    path.write_text(text.replace("0.625", "free"), encoding="utf-8")
    with pytest.raises(JobError, match="write_units_per_million must be a number"):
        load_prices(path)
    path.write_text(text.replace("s3_import_gb", "s3"), encoding="utf-8")
    with pytest.raises(JobError, match="exactly these keys"):
        load_prices(path)
    with pytest.raises(JobError, match="can't be read"):
        load_prices(tmp_path / "none.yaml")
