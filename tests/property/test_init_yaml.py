"""Names of any kind come back out of the job file that `init` writes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.dynamodb.starter import table_name
from engine.job.interpolation import Interpolation
from engine.job.template import Placeholder, parse
from engine.job.yaml_core import parse_yaml
from engine.job.yaml_text import comment, job_name, listed, mapped, placeholder, quoted

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(
    lambda name: name.strip() == name
)


def read(text: str) -> object:
    return Interpolation({})(parse_yaml(text))


@given(NAMES)
def test_a_quoted_name_is_read_back(name: str) -> None:
    assert read(f"x: {quoted(name)}") == {"x": name}
    assert read(f"x: {listed([name, 'b'])}") == {"x": [name, "b"]}


@given(NAMES | st.sampled_from(["each", "index"]))
def test_a_placeholder_names_its_column_through_yaml_and_template(name: str) -> None:
    read_back = read(f"x: {mapped({'PK': f'T#{placeholder(name)}'})}")
    assert isinstance(read_back, dict)
    assert parse(read_back["x"]["PK"]) == ("T#", Placeholder((name,), None, name in ("each", "index")))


@given(st.text())
def test_a_comment_stays_one_line(text: str) -> None:
    assert len(comment(text).splitlines()) <= 1


@pytest.mark.parametrize("name", ["Orders", "a b", "ü", "x", "T.x", "--", "_"])
def test_names_that_a_job_and_a_table_may_have(name: str) -> None:
    from engine.job.model import Job

    Job.model_validate(
        {
            "name": job_name(name),
            "source": {"type": "postgres", "url": "postgresql://h/d", "table": "t"},
            "target": {"type": "dynamodb", "table": table_name(name)},
            "items": [{"name": "R", "key": {"PK": "{id}"}}],
        }
    )
    assert json.dumps(job_name(name))
