from pathlib import Path

import pytest

from engine.job.handed import read, write
from engine.job.model import Job

DYNAMODB = {"type": "dynamodb", "table": "t-able", "max_wcu": 4000, "mode": "newer", "version": "at"}
RULES = [
    {
        "name": "Order",
        "key": {"PK": "USER#{user_id}", "SK": "ORDER#{id:03d}"},
        "when": "status <> 'draft'",
        "include": "all",
        "exclude": ["note"],
        "attributes": {
            "at": "{at}",
            "one": 1,
            "long": "12345678901234567890123456789012345678",
            "yes": True,
            "lower": {"sql": "lower(email)"},
            "expires": {"value": "{at}", "as": "epoch_s"},
        },
        "delete_when": "deleted_at IS NOT NULL",
    }
]
POSTGRES = {
    "type": "postgres",
    "url": "postgresql://me:s3cret@127.0.0.1/x",
    "table": "orders",
    "columns": ["id", "user_id", "status", "note", "at", "email", "deleted_at"],
    "watermark": {"column": "at", "overlap": "10m"},
    "embed": {"lines": {"table": "lines", "on": {"order_id": "id"}, "order_by": ["no"]}},
}
MONGODB = {
    "type": "mongodb",
    "url": "mongodb://me:s3cret@127.0.0.1/",
    "database": "d",
    "collection": "c",
    "filter": {"at": {"$gt": {"$date": "2024-01-01T00:00:00Z"}}, "number": {"number": "5"}},
    "watermark": "at",
}


@pytest.mark.parametrize("source", [POSTGRES, MONGODB], ids=["postgres", "mongodb"])
@pytest.mark.parametrize("state", [{}, {"state": {"type": "dynamodb", "table": "state"}}], ids=["", "state"])
def test_a_job_arrives_as_it_was(source, state, tmp_path):
    given = {"name": "orders", "source": source, "target": DYNAMODB, "items": RULES, **state}
    job = Job.model_validate(given, context={"directory": tmp_path})
    there = read(write(job))
    assert there == job
    assert there.directory == Path(tmp_path)
    assert there.source.url.get_secret_value() == job.source.url.get_secret_value()
    assert there.fingerprint_parts() == job.fingerprint_parts()
    assert there.target.model_fields_set == job.target.model_fields_set


def test_a_literal_number_arrives_to_the_last_digit(tmp_path):
    digits = "1.2345678901234567890123456789012345678"
    from engine.job.yaml_core import parse_yaml

    literal = parse_yaml(f"n: {digits}")["n"]
    rule = {"name": "R", "key": {"PK": "{id}"}, "attributes": {"n": literal}}
    target = {"type": "dynamodb", "table": "t-able"}
    job = Job.model_validate({"name": "j", "source": POSTGRES, "target": target, "items": [rule]})
    there = read(write(job))
    assert there == job
    assert str(there.items[0].attributes["n"]) == digits
