"""A job as text, for a worker in another process: what the job file said, already completed and checked.

Invariant: `read(write(job))` equals the job, literal numbers to the last digit and the hook's directory
included. The text holds the job's secrets, so it goes over private links only.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from engine.job import file
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


def as_written(job: Job) -> str:
    """Return the job as its file has it, for another host: the environment's part in it isn't in the text."""
    assert job.written is not None, "the command line has read it from a file"
    return json.dumps(job.written, default=_plain)


def completed(text: str, directory: Path, env: Mapping[str, str]) -> Job:
    """Return the job of a text that `as_written` gave, with what this host's environment says.

    `directory` is where a hook may be. Raises: JobError.
    """
    return file.completed(json.loads(text, object_hook=_exact), directory, env)


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
