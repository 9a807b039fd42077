"""What commands have in common on the command line: the job, where its state is, how to print.

Invariant: as for the whole package, nothing heavy is imported.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import click

from engine.frozen import dataclass
from engine.show import lines, logs

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(slots=True)
class Invocation:
    """What outlives a command: how its errors are told, and what was done before one.

    `as_json` is taken from the words of the command line, which may be what doesn't fit.
    """

    verbose: bool = False
    as_json: bool = False
    done: Mapping[str, Any] = field(default_factory=dict)
    """The report of the jobs before the one at fault, as JSON values."""


def _verbose(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Invocation).verbose = True
        logs.setup(verbose=True)


def _quiet(_: click.Context, __: click.Parameter, value: bool) -> None:
    if value:
        lines.style.quiet = True


def _log_format(_: click.Context, __: click.Parameter, value: str | None) -> None:
    if value is not None:
        lines.style.as_json = value == "json"


job = click.argument("job_file", metavar="JOB", type=click.Path(path_type=Path))
state = click.option(
    "--state",
    "state_dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".backfill"),
    show_default=True,
    help="Directory of checkpoints, dead letters and reports.",
)
overrides = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a job key, as in a.b=value."
)
only = click.option("--only", metavar="NAME", help="Take just this job of the file.")


AUTO = "auto"


def _processes(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    """Return the number that was typed, None for `auto`."""
    if value == AUTO:
        return None
    number: int = click.IntRange(0, 256)(value, parameter, context)
    return number


workers = click.option(
    "--workers",
    default=AUTO,
    show_default=True,
    metavar=f"N|{AUTO}",
    callback=_processes,
    help="Processes, with --runner ray on the cluster: a number, or as many as rows and target are worth.",
)
AS_JSON = "--json"
as_json = click.option(AS_JSON, "as_json", is_flag=True, help="Print one JSON object on stdout, errors too.")
_verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_verbose,
    help="Show debug logs, and tracebacks of errors.",
)
_quiet_option = click.option(
    "--quiet",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_quiet,
    help="Say nothing on stderr but warnings and errors.",
)
LOG_FORMAT = "--log-format"
_log_format_option = click.option(
    LOG_FORMAT,
    type=click.Choice(["text", "json"]),
    expose_value=False,
    is_eager=True,
    callback=_log_format,
    help="How stderr is written; json: one object a line, from every process.  [default: text]",
)


def options(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Put several options on a command, shown in this order."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


_FILE = click.Path(path_type=Path, dir_okay=False)
listen = options(
    click.option("--listen", metavar="HOST:PORT", help="Let `backfill worker`s of other hosts take part."),
    click.option(
        "--expect", type=click.IntRange(0, 1024), metavar="N", help="Begin when so many have dialled in."
    ),
    click.option("--tls-cert", type=_FILE, help="Certificate to listen with, in PEM."),
    click.option("--tls-key", type=_FILE, help="Its private key."),
)
LISTEN = ("listen", "expect", "tls_cert", "tls_key")
"""The parameters of these."""
runner = click.option(
    "--runner",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where processes run: on this host, or on a Ray cluster besides.",
)
placing = options(
    runner,
    click.option(
        "--ray-address",
        metavar="HOST:PORT",
        help="The cluster's head; `local`: one of this run's own.  [default: the one of this host]",
    ),
)

telling = options(_verbose_option, _quiet_option, _log_format_option)
"""What is said on stderr, and how: an option of every command."""


def json_asked(words: Sequence[str]) -> bool:
    """Say whether words of a command line, which may not fit, ask for lines of JSON."""
    return f"{LOG_FORMAT}=json" in words or (LOG_FORMAT, "json") in pairwise(words)
