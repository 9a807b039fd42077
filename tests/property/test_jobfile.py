"""Job files: whatever stands in them, a user gets jobs or one clear refusal without secrets."""

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import JobError
from engine.job.file import load
from engine.job.model import Job

ENV = {"SOURCE_URL": "postgresql://user:hunter22@host/db", "SECRET": "hunter22"}
JOB = {
    "name": "orders",
    "source": {
        "type": "postgres",
        "url": "${SOURCE_URL}",
        "table": "orders",
        "key": ["id"],
        "embed": {"items": {"table": "order_items", "on": {"order_id": "id"}, "order_by": ["line_no"]}},
        "segments": 4,
    },
    "target": {
        "type": "dynamodb",
        "table": "app-data",
        "mode": "newer",
        "version": "v",
        "max_wcu": 10.5,
        "create": {
            "gsi": [{"name": "GSI1", "partition_key": "a", "projection": ["b"]}],
            "key_types": {"a": "N"},
            "tags": {"a": "b"},
            "warm_throughput": {"write": 5},
        },
    },
    "items": [
        {
            "name": "Order",
            "for_each": "items",
            "key": {"PK": "USER#{user_id}", "SK": "{index:03d}"},
            "include": ["v"],
            "attributes": {"A": 1.5, "B": {"sql": "x", "as": "S"}, "C": {"value": "{each.x}"}, "D": True},
        }
    ],
    "options": {"nulls": "keep"},
    "state": {"type": "dynamodb", "table": "state"},
}
TEXTS = st.sampled_from(
    [
        "",
        "PK",
        "v",
        "{id}",
        "{",
        "{each}",
        "${SECRET}",
        "${NONE}",
        "${",
        "postgres",
        "sqlite",
        "all",
        "5",
        "http://[x",
    ]
) | st.text(st.characters(exclude_categories=["C", "Z"]), max_size=5)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
KEYS = st.sampled_from(["sql", "value", "as", "type", "name", "table", "key", "PK", "0"]) | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def places(data, path=()):
    """Return every path in the data."""
    steps = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(found for step, value in steps for found in places(value, (*path, step)))]


@st.composite
def broken_jobs(draw):
    """Draw the job with a few values replaced, added or taken away."""
    data = copy.deepcopy(JOB)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(data)))
        at = data
        for step in path[:-1]:
            at = at[step]
        if not path or (isinstance(at, dict) and draw(st.booleans())):
            (at if path else data)[draw(KEYS)] = draw(VALUES)
        elif isinstance(at, dict) and draw(st.booleans()):
            del at[path[-1]]
        else:
            at[path[-1]] = draw(VALUES)
    return data


def test_the_job_itself_is_good(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps(JOB))
    assert load(path, (), ENV)[0].name == "orders"


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=broken_jobs())
def test_a_broken_job_is_refused_or_taken_but_never_a_crash(tmp_path, data):
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    try:
        [job] = load(path, (), ENV)
    except JobError as error:
        for line in str(error).split("\n"):
            assert line.startswith(f"{path}: ")
            assert "hunter22" not in line
            assert "doesn't fit" not in line, "a fault without a sentence of its own"
    else:
        assert isinstance(job, Job)
        assert job.fingerprint_parts().keys() == {"source", "mapping", "target"}


@pytest.mark.parametrize("character", ["\t", "'", '"', "\\", "#", "&", "*", "!", "|", "%", "@", "`"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text("abc:-[]{}?, \n", max_size=15))
def test_a_text_that_is_no_job_is_refused(tmp_path, character, text):
    path = tmp_path / "job.yaml"
    path.write_text(text + character + text)
    with pytest.raises(JobError):
        load(path, (), ENV)
