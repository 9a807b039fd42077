"""The job file's JSON Schema, for editors.

Invariant: it comes from the models alone, so that it can't say anything else than they do.
"""

from typing import Any

from engine.job.model import Job

DIALECT = "https://json-schema.org/draft/2020-12/schema"
VARIABLE = {
    "type": "string",
    "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
    "description": "A value from the environment: ${VAR} or ${VAR:-default}.",
}
SHARED_KEYS = ("target", "options", "state")
"""What entries of `jobs` take from the top unless they have their own."""


def json_schema() -> dict[str, Any]:
    """Return the schema of both forms of a job file: one job, or `jobs` with what they share."""
    job = Job.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")
    definitions: dict[str, Any] = job.pop("$defs")
    shared = {key: job["properties"][key] for key in SHARED_KEYS}
    entry = {**job, "required": [key for key in job["required"] if key not in SHARED_KEYS]}
    jobs = {
        "type": "object",
        "description": "Several loads, which share what stands at the top.",
        "properties": {
            "jobs": {
                "type": "array",
                "minItems": 1,
                "items": {"$ref": "#/$defs/JobEntry"},
                "description": "The loads, done in this order.",
            },
            **shared,
        },
        "required": ["jobs"],
        "additionalProperties": False,
    }
    definitions = {**definitions, "Job": job, "JobEntry": entry, "Jobs": jobs}
    return {
        "$schema": DIALECT,
        "title": "backfill job file",
        "anyOf": [{"$ref": "#/$defs/Job"}, {"$ref": "#/$defs/Jobs"}],
        "$defs": {
            **{name: _with_variables(body) for name, body in definitions.items()},
            "Variable": VARIABLE,
        },
    }


def _with_variables(schema: Any) -> Any:
    """Let every value that has to be more than any text come from a variable, too."""
    if isinstance(schema, list):
        return [_with_variables(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = schema.get("type") in ("integer", "number", "boolean")
    limited = schema.get("type") == "string" and ("enum" in schema or "pattern" in schema)
    if plain or limited:
        outer = {key: schema[key] for key in ("title", "description", "default") if key in schema}
        inner = {key: value for key, value in schema.items() if key not in outer}
        return {**outer, "anyOf": [inner, {"$ref": "#/$defs/Variable"}]}
    # A text may be a template and a variable at once, so alternatives mustn't exclude each other.
    return {"anyOf" if key == "oneOf" else key: _with_variables(value) for key, value in schema.items()}
