from pathlib import Path

import pytest

from engine.errors import JobError
from engine.job.file import load
from engine.job.handed import as_written, completed, read, write
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


def test_a_job_goes_to_another_host_as_it_is_written(tmp_path):
    text = """
    name: orders
    source: {type: postgres, url: "${SOURCE_URL}", table: orders, where: "a <> '$${x'"}
    target: {type: dynamodb, table: t-able}
    items: [{name: R, key: {PK: "${TENANT:-none}#{id}"}, attributes: {n: 1.234567890123456789012345678}}]
    """
    path = tmp_path / "job.yaml"
    path.write_text(text)
    env = {"SOURCE_URL": "postgresql://me:s3cret@here/x", "TENANT": "t"}
    (job,) = load(path, env=env)
    said = as_written(job)
    assert "s3cret" not in said
    assert "${SOURCE_URL}" in said
    there = completed(said, tmp_path / "hooks", {**env, "SOURCE_URL": "postgresql://me:other@there/x"})
    assert there.fingerprint_parts() == job.fingerprint_parts()
    assert there.items == job.items
    assert there.source.where == "a <> '${x'"
    assert there.source.url.get_secret_value() == "postgresql://me:other@there/x"
    assert there.directory == tmp_path / "hooks"
    elsewhere = completed(said, tmp_path, {**env, "TENANT": "u"})
    assert elsewhere.fingerprint_parts() != job.fingerprint_parts(), "a variable decides what is written"


def test_of_several_jobs_each_goes_with_what_stands_at_the_top(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(
        """
        target: {type: dynamodb, table: t-able, region: "${REGION}"}
        jobs:
          - name: a
            source: {type: postgres, url: "postgresql://h/d", table: a}
            items: [{name: R, key: {PK: "{id}"}}]
          - name: b
            source: {type: postgres, url: "postgresql://h/d", table: b}
            items: [{name: R, key: {PK: "{id}"}}]
        """
    )
    (job,) = load(path, ["jobs.b.source.table=c"], {"REGION": "r"}, only="b")
    there = completed(as_written(job), tmp_path, {"REGION": "r"})
    assert (there.name, there.source.table, there.target.region) == ("b", "c", "r")


@pytest.mark.parametrize(
    ("env", "sentence"),
    [({}, "SOURCE_URL isn't set"), ({"SOURCE_URL": "s3cret-mongodb://"}, "the runner's job: source.url: ")],
)
def test_what_is_wrong_with_it_there_is_one_sentence_without_a_secret(tmp_path, env, sentence):
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: a\nsource: {type: postgres, url: '${SOURCE_URL}', table: a}\n"
        "target: {type: dynamodb, table: t-able}\nitems: [{name: R, key: {PK: '{id}'}}]\n"
    )
    (job,) = load(path, env={"SOURCE_URL": "postgresql://here/x"})
    with pytest.raises(JobError, match=sentence) as refused:
        completed(as_written(job), tmp_path, env)
    assert "s3cret" not in str(refused.value)
