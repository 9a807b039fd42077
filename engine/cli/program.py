"""The program `backfill`: its commands in one group, and how each call ends.

Invariant: every fault ends as one sentence on stderr, and an exit code of the contract. A new command is a
function in the module of its kind, and a name in COMMANDS.
"""

import sys
import traceback
from collections.abc import Sequence

import click

from engine import __version__
from engine.cli import check, instruments, join, load, prepare
from engine.cli.options import AS_JSON, Invocation, json_asked
from engine.cli.signals import interrupted
from engine.errors import BackfillError, JobError
from engine.exits import Exit
from engine.masking import printable
from engine.show import lines, logs
from engine.show.console import fail, print_object

COMMANDS = (
    prepare.init,
    prepare.plan,
    prepare.table,
    prepare.schema,
    load.run,
    join.worker,
    load.status,
    load.log,
    check.verify,
    check.redrive,
    instruments.demo,
    instruments.bench,
    instruments.simulator,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="backfill")
def backfill() -> None:
    """Load PostgreSQL tables and MongoDB collections into DynamoDB: fast, resumable, with nothing lost.

    Exit codes: 0 done; 1 failed, resumable; 2 the job file, the command line or the checkpoint doesn't fit;
    3 done, with dead letters; 4 differences or losses found; 130 interrupted after a clean checkpoint.
    """


for command in COMMANDS:
    backfill.add_command(command)


def start(arguments: Sequence[str] | None) -> int | None:
    """Set logs up and run the command, in a process that does nothing else; see `outcome`."""
    logs.setup(verbose=False)
    return outcome(arguments, Invocation())


def answer(arguments: Sequence[str] | None, invocation: Invocation) -> int:
    """Run the command that the arguments name (None: argv) and return its exit code."""
    return outcome(arguments, invocation) or 0


def outcome(arguments: Sequence[str] | None, invocation: Invocation) -> int | None:
    """Run the command that the arguments name (None: argv) and return its exit code.

    Shape: None for one whose output is all that it does, when it has done it.
    """
    words = sys.argv[1:] if arguments is None else arguments
    invocation.as_json = AS_JSON in words
    lines.setup(as_json=json_asked(words))
    try:
        code = backfill.main(arguments, prog_name="backfill", standalone_mode=False, obj=invocation)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.exceptions.NoArgsIsHelpError as error:  # nothing was asked for: that is no mistake
        click.echo(error.format_message())
        return Exit.DONE
    except click.ClickException as error:
        return _complain(error.format_message(), error, invocation, JobError.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return interrupted()
    except BackfillError as error:
        return _complain(str(error), error, invocation, error.exit_code)
    except SystemExit:
        raise
    except BaseException as error:  # the last resort: a bug, or a panic of Polars, ends as a sentence too
        what = f"internal error: {type(error).__name__}: {error}; please report this; -v shows the traceback"
        return _complain(what, error, invocation, Exit.FAILED)
    return code if isinstance(code, int) else None


def _complain(sentence: str, error: BaseException, invocation: Invocation, code: int) -> int:
    came_of = "".join(traceback.format_exception(error)) if invocation.verbose else ""
    if came_of and not lines.style.as_json:
        click.echo(printable(came_of), err=True, nl=False)
    if invocation.as_json:
        print_object({**invocation.done, "error": printable(sentence)})
    job = error.job if isinstance(error, BackfillError) else ""
    fail(sentence, job=job, fields={"traceback": came_of} if came_of else None)
    return code
