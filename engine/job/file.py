"""The job file: from a path to checked jobs.

Invariant: whatever is wrong with the file, its variables or `--set` is a JobError that names the file and the
key's full path, and repeats no value that came from the environment.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.errors import JobError
from engine.job.faults import Fault, faults
from engine.job.interpolation import Interpolation, dotted
from engine.job.interpolation import Path as KeyPath
from engine.job.model import Job
from engine.job.overrides import apply_override
from engine.job.schema import SHARED_KEYS
from engine.job.section import nearest
from engine.job.yaml_core import parse_yaml

FAULTS_SHOWN_MAX = 5
FILE_BYTES_MAX = 4_000_000
"""A thousand jobs of a hundred attributes each; a device or a wrong file has no end."""
VALUE_CHARS_MIN = 4
"""Shorter values of variables aren't masked: they would be found in any text, and are no secrets."""


def load(
    path: str | Path,
    overrides: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    only: str | None = None,
) -> tuple[Job, ...]:
    """Read, complete and check a job file; `only` keeps the job of that name.

    Ordering: as in the file.
    Raises: JobError.
    """
    file = Path(path)
    interpolation = Interpolation(os.environ if env is None else env)
    try:
        data = _mapping(parse_yaml(_read(file)))
    except JobError as error:
        raise JobError(f"{file}: {error}") from error
    set_paths = [apply_override(data, text) for text in overrides]
    try:
        written, data = data, interpolation(data)
        entries = _entries(data)
    except JobError as error:
        raise JobError(f"{file}: {error}") from error
    jobs: list[Job] = []
    found: list[Fault] = []
    for (prefix, entry), (_, as_written) in zip(entries, _entries(written), strict=True):
        try:
            context = {
                "directory": file.resolve().parent,
                "variables": interpolation.variables,
                "written": as_written,
            }
            jobs.append(Job.model_validate(entry, context=context))
        except ValidationError as error:
            found += [_placed(fault, prefix, data) for fault in faults(error, entry)]
    found += [] if found else [*_same_names(jobs), *_like_logs(jobs)]
    if found:
        # The validation's own error holds the values: it mustn't be anybody's cause.
        raise JobError(_told(found, file, set_paths, interpolation.used)) from None
    return _chosen([_with_mates(job, jobs) for job in jobs], only, file)


def completed(entry: Mapping[str, Any], directory: Path, env: Mapping[str, str]) -> Job:
    """Return the job of another host's file, with what the environment here says. Raises: JobError."""
    interpolation = Interpolation(env)
    data = interpolation(dict(entry))
    try:
        return Job.model_validate(
            data, context={"directory": directory, "variables": interpolation.variables}
        )
    except ValidationError as error:
        found = "; ".join(f"{dotted(fault.path)}: {fault.sentence}" for fault in faults(error, data))
        raise JobError(f"the runner's job: {_masked(found, interpolation.used)}") from None


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise JobError(f"it is larger than {FILE_BYTES_MAX:,} bytes; give the path of a job file")
        return data.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise JobError("there is no such file; give the path of a job file") from error
    except OSError as error:
        raise JobError(f"can't be read: {error.strerror}; give the path of a job file") from error
    except UnicodeDecodeError as error:
        raise JobError("it isn't text in UTF-8; save it so") from error


def _mapping(data: Any) -> dict[str, Any]:
    if data is None:
        raise JobError("it is empty; a job needs name, source, target and items")
    if not isinstance(data, dict):
        raise JobError("it must be a mapping with name, source, target and items, or with jobs")
    return data


def _entries(data: dict[str, Any]) -> list[tuple[KeyPath, dict[str, Any]]]:
    """Return every job's own data, completed from the top, with the path that leads to it."""
    if "jobs" not in data:
        return [((), data)]
    shared = {key: value for key, value in data.items() if key != "jobs"}
    for key in shared:
        if key in Job.known_keys() and key not in SHARED_KEYS:
            raise JobError(
                f"{dotted((key,))}: with jobs it belongs into each of their entries; move it there"
            )
        if key not in SHARED_KEYS:
            raise JobError(f"{dotted((key,))}: this key isn't known; {nearest(key, ('jobs', *SHARED_KEYS))}")
    jobs = data["jobs"]
    if not isinstance(jobs, list) or not jobs:
        raise JobError("jobs: it must be a list of at least one job, each with name, source and items")
    for position, entry in enumerate(jobs):
        if not isinstance(entry, dict):
            raise JobError(f"jobs[{position}]: it must be a mapping with name, source and items")
    return [(("jobs", position), {**shared, **entry}) for position, entry in enumerate(jobs)]


def _placed(fault: Fault, prefix: KeyPath, data: dict[str, Any]) -> Fault:
    """Say where in the file a job's fault is: in its entry, or in what it takes from the top."""
    if prefix:
        entry = data["jobs"][prefix[1]]
        if fault.path and fault.path[0] in data and fault.path[0] not in entry:
            return fault
    return Fault((*prefix, *fault.path), fault.sentence)


def _same_names(jobs: Sequence[Job]) -> list[Fault]:
    names = [job.name for job in jobs]
    return [
        Fault(
            ("jobs", position, "name"), "another job has this name, and jobs of one name would share a state"
        )
        for position, name in enumerate(names)
        if name in names[:position]
    ]


def _like_logs(jobs: Sequence[Job]) -> list[Fault]:
    """Refuse logs of one name that aren't, or can't be told to be, one log."""
    return [
        Fault(
            ("jobs", position, "source", "catch_up", "slot"),
            "another job's slot has this name, with another url or publication; jobs share a slot where both"
            " are written alike: make them so, or give each its own",
        )
        for position, job in enumerate(jobs)
        if any(
            (other.source.type, other.source.log) == (job.source.type, job.source.log)
            and not (job.source.LOG_SHARED or other.source.same_log(job.source))
            for other in jobs[:position]
            if other.source.log is not None
        )
    ]


def _with_mates(job: Job, jobs: Sequence[Job]) -> Job:
    """Return a job that knows the others of its file that go by the same log."""
    return job.beside([each for each in jobs if each is not job and each.source.same_log(job.source)])


def _told(found: Sequence[Fault], file: Path, set_paths: Sequence[KeyPath], used: Mapping[str, str]) -> str:
    lines: dict[str, None] = {}
    for fault in found:
        by_set = any(fault.path[: len(path)] == path for path in set_paths)
        lines[
            f"{'--set' if by_set else f'{file}:'} {dotted(fault.path)}: {_masked(fault.sentence, used)}"
        ] = None
    shown = list(lines)[:FAULTS_SHOWN_MAX]
    if len(lines) > len(shown):
        shown.append(f"{file}: {len(lines) - len(shown)} more after these")
    return "\n".join(shown)


def _masked(text: str, used: Mapping[str, str]) -> str:
    """Put references back in place of the values that came from the environment, the longest first."""
    for value in sorted(used, key=len, reverse=True):
        if len(value) >= VALUE_CHARS_MIN:
            text = text.replace(value, used[value])
    return text


def _chosen(jobs: Sequence[Job], only: str | None, file: Path) -> tuple[Job, ...]:
    if only is None:
        return tuple(jobs)
    chosen = tuple(job for job in jobs if job.name == only)
    if not chosen:
        raise JobError(f"{file}: there is no job {only!r} in it; {nearest(only, [job.name for job in jobs])}")
    return chosen
