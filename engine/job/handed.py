"""A job as text, for a worker in another process: what the job file said, already completed and checked.

Invariant: `read(write(job))` equals the job, literal numbers to the last digit and the hook's directory
included. The text holds the job's secrets, so it goes over private links only.
"""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from engine.job.model import Job

_NUMBER = "\0number"
"""Marks a literal number, which JSON's readers would round. No key of a job begins so."""


def write(job: Job) -> str:
    """Return the job as JSON; secret."""
    said = job.model_dump(by_alias=True, exclude_unset=True)
    return json.dumps({"directory": str(job.directory), "job": said}, default=_plain)


def read(text: str) -> Job:
    """Return the job of a text that `write` gave."""
    parts = json.loads(text, object_hook=_exact)
    return Job.model_validate(parts["job"], context={"directory": parts["directory"]})


def _plain(value: Any) -> Any:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case Decimal():
            return {_NUMBER: str(value)}
        case Path():
            return str(value)
        case frozenset() | set():
            return sorted(value)
    raise AssertionError(f"no text for {type(value).__name__}")


def _exact(mapping: dict[str, Any]) -> Any:
    return Decimal(mapping[_NUMBER]) if _NUMBER in mapping else mapping
