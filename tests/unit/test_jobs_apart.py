"""Which jobs of a file wait for which, as long as only their texts are known."""

from typing import Any

import pytest

from engine.job.model import Job
from engine.rules.jobs_apart import waits_for

HERE = "arn:aws:dynamodb:eu-west-1:123456789012:table/shop"


def job(pk: str, sk: str = "ROW", **target: Any) -> Job:
    return Job.model_validate(
        {
            "name": "load",
            "source": {"type": "postgres", "url": "postgres://x/y", "table": "t"},
            "target": {"type": "dynamodb", "table": "shop", "region": "us-east-1", **target},
            "items": [{"name": "Row", "key": {"PK": pk, "SK": sk}, "include": "all"}],
        }
    )


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [
        (job("USER#{id}"), job("ORDER#{id}"), False),
        (job("USER#{id}", "A#{n}"), job("USER#{id}", "B#{n}"), False),
        (job("USER#{id}"), job("USER#{id}"), True),
        (job("{id}"), job("ORDER#{id}"), True),
        (job("{id}#A"), job("{id}#B"), False),
        (job("USER#{id}"), job("USER#{id}", table="other"), False),
        (job("USER#{id}"), job("USER#{id}", region="eu-west-1"), True),  # a replica
        (job("USER#{id}"), job("USER#{id}", table=HERE), True),
        (job("USER#{id}"), job("USER#{id}", endpoint_url="http://127.0.0.1:8000"), True),
    ],
)
def test_a_job_waits_for_one_before_it_that_may_make_its_items(first: Job, second: Job, waits: bool) -> None:
    assert waits_for([first, second]) == (frozenset(), frozenset({0} if waits else ()))


def test_each_waits_for_all_before_it_that_it_may_meet() -> None:
    jobs = [job("A#{id}"), job("B#{id}"), job("{id}"), job("A#{id}")]
    assert waits_for(jobs) == (frozenset(), frozenset(), frozenset({0, 1}), frozenset({0, 2}))
