"""A few seeds of the campaign, whole; `make campaign` runs as many as one likes."""

from pathlib import Path

import pytest

from tests.campaign import colliding
from tests.campaign.plan import plan_of
from tests.campaign.report import line
from tests.campaign.runner import run_seed

SEEDS = {
    3: "newer, refused access, SIGTERM, a worker killed",
    4: "MongoDB, keys that collide, two workers, the runner killed, paused",
    5: "keys that collide, SIGINT, killed",
    12: "items of two rules, insert, faults of many kinds",
    21: "truncated and loaded anew while it is read",
}


@pytest.mark.fault
@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed {seed}: {SEEDS[seed]}")
def test_a_seed_of_the_campaign(
    seed: int, postgres_server: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    plan = plan_of(seed)
    mongodb = request.getfixturevalue("mongodb_url") if plan.source == "mongodb" else ""
    outcome = run_seed(plan, postgres_server, mongodb, tmp_path / "seed")
    assert not outcome.failures, line(outcome)
    assert outcome.requests > 0


@pytest.mark.fault
def test_rows_that_make_each_others_keys(postgres_server: str, dynoxide: str, tmp_path: Path) -> None:
    """Seed 2: two rules over a table, killed six times."""
    said, failures = colliding.run_seed(2, postgres_server, "", dynoxide, tmp_path / "seed")
    assert not failures, (said, failures)
