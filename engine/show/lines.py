"""What is said on stderr, a line each: as text for people or as JSON for collectors, all or warnings only.

Invariant: every line has gone through `masking`; as JSON each is one object of the same keys; a stderr that
nobody reads changes nothing.
"""

import json
import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Literal, TextIO, TypeAlias

from engine.frozen import dataclass
from engine.masking import printable

Level: TypeAlias = Literal["info", "warning", "error"]

JOB: ContextVar[str] = ContextVar("job", default="")
"""The job that this task works for."""


@dataclass(slots=True)
class Style:
    """What the command line asks for. One of a process."""

    as_json: bool = False
    quiet: bool = False


style = Style()


def setup(*, as_json: bool = False, quiet: bool = False) -> None:
    """Say from now on what is asked for, as it is asked for."""
    style.as_json, style.quiet = as_json, quiet


def arguments() -> list[str]:
    """Return what another process of ours is to be started with, so that it speaks alike."""
    return [*(("--log-format=json",) if style.as_json else ()), *(("--quiet",) if style.quiet else ())]


def tell(
    message: str,
    *,
    text: str | None = None,
    level: Level = "info",
    job: str = "",
    event: str = "notice",
    fields: Mapping[str, Any] | None = None,
    stream: TextIO | None = None,
) -> None:
    """Say one thing. `text` is how a person reads it, where that is more than the message."""
    if style.quiet and level == "info":
        return
    if style.as_json:
        line = as_json(message, level=level, job=job, event=event, fields=fields or {})
    else:
        line = printable(message if text is None else text)
    stream = sys.stderr if stream is None else stream
    encoding = getattr(stream, "encoding", None) or "ascii"
    try:
        stream.write(line.encode(encoding, "replace").decode(encoding) + "\n")
        stream.flush()
    except (OSError, ValueError):
        return


def as_json(
    message: str,
    *,
    level: str,
    job: str,
    event: str,
    fields: Mapping[str, Any],
    at: float | None = None,
) -> str:
    """Return one line of JSON. Units: `at` in seconds since 1970; None: now."""
    at = time.time() if at is None else at
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
    said = {
        "time": f"{seconds}.{int(at * 1000) % 1000:03d}Z",
        "level": level,
        "job": printable(job or JOB.get()),
        "event": event,
        "message": printable(message),
        "fields": {
            name: printable(value) if isinstance(value, str) else value for name, value in fields.items()
        },
    }
    return json.dumps(said)
