"""The JSON Schema: editors learn from it all that users may write."""

import json
import re
from pathlib import Path

from engine.job.schema import json_schema

REFERENCE = Path(__file__).parents[2] / "docs" / "job-file.md"


def properties(schema):
    return {
        (name, key): body
        for name, definition in schema["$defs"].items()
        for key, body in definition.get("properties", {}).items()
    }


def test_it_is_json_and_every_reference_leads_somewhere():
    schema = json.loads(json.dumps(json_schema()))
    assert schema["$schema"].startswith("https://json-schema.org/")
    for reference in re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps(schema)):
        assert reference in schema["$defs"]


def test_both_forms_of_a_job_file_are_in_it():
    definitions = json_schema()["$defs"]
    assert {"name", "source", "target", "items"} <= set(definitions["Job"]["required"])
    assert set(definitions["JobEntry"]["required"]) == {"name", "source", "items"}
    assert definitions["Jobs"]["required"] == ["jobs"]
    assert set(definitions["Jobs"]["properties"]) == {"jobs", "target", "options", "state"}


def test_every_key_is_described_and_none_is_a_python_name():
    for (section, key), body in properties(json_schema()).items():
        assert body.get("description"), f"{section}.{key}"
        assert not key.startswith("_")
        assert not key.endswith("_")


def test_unknown_keys_are_refused_by_editors_too():
    for name, definition in json_schema()["$defs"].items():
        if "properties" in definition:
            assert definition["additionalProperties"] is False, name


def test_numbers_and_choices_may_come_from_variables():
    found = properties(json_schema())
    for key in (("PostgresSection", "batch_rows"), ("DynamoDBSection", "mode"), ("Create", "pitr")):
        assert {"$ref": "#/$defs/Variable"} in found[key]["anyOf"]


def test_the_reference_tells_every_key():
    text = REFERENCE.read_text(encoding="utf-8")
    for section, key in properties(json_schema()):
        assert f"`{key}`" in text, f"{section}.{key} isn't in docs/job-file.md"
