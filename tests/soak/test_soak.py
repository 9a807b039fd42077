"""A small seed of the soak on each server; `make soak-log` runs as many as one likes, and large ones."""

from pathlib import Path

import pytest

from tests.soak.course import run_log_seed
from tests.soak.mongodb_orders import MongoOrders
from tests.soak.plan import log_plan_of
from tests.soak.postgres_orders import PostgresOrders
from tests.support.own_postgres import OwnPostgres


@pytest.mark.fault
def test_whatever_changes_and_whenever_a_run_is_killed_nothing_is_missing_or_left(
    logical_postgres: OwnPostgres, logged_database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    plan = log_plan_of(1, request.node.callspec.params["logical_postgres"], quick=True)
    outcome = run_log_seed(plan, PostgresOrders(plan, logged_database), tmp_path / "seed")
    assert not outcome.failures, outcome.line
    assert outcome.writes > 0


@pytest.mark.fault
def test_nor_is_it_where_documents_change(mongodb_url: str, tmp_path: Path) -> None:
    plan = log_plan_of(1, "mongodb", quick=True)
    outcome = run_log_seed(plan, MongoOrders(plan, mongodb_url), tmp_path / "seed")
    assert not outcome.failures, outcome.line
    assert outcome.writes > 0
