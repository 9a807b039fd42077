"""What commands print: reports on stdout, for people or for programs, and sentences on stderr.

Invariant: stdout carries reports only, and nothing is printed that steers a terminal or gives a secret away.
"""

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import click

from engine.masking import printable
from engine.show import lines

_NAMED = re.compile(r" +\S+( \S+)* {2,}")
"""A figure's name, with the space behind it."""


class Told(Protocol):
    """A report that can be told to a program."""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""


_Report = TypeVar("_Report", bound=Told)


def say(sentence: str) -> None:
    """Say a sentence on stderr."""
    lines.tell(sentence, text=f"backfill: {sentence}")


def fail(sentence: str, *, job: str, fields: Mapping[str, Any] | None = None) -> None:
    """Say on stderr what went wrong, of which job."""
    text = f"backfill: error: {sentence}"
    lines.tell(sentence, text=text, level="error", job=job, event="error", fields=fields)


def tell(text: str) -> None:
    """Print a report in words, on a terminal in lines that fit it."""
    text = printable(text)
    click.echo(fitted(text, shutil.get_terminal_size().columns) if sys.stdout.isatty() else text)


def fitted(text: str, width: int) -> str:
    """Break lines between words, so that they fit; what follows a figure's name stays below itself. Pure."""
    return "\n".join(part for line in text.split("\n") for part in _parts(line, width))


def _parts(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    named = _NAMED.match(line)
    indent = " " * (named.end() if named else len(line) - len(line.lstrip()))
    return textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def print_reports(
    reports: Sequence[_Report], text: Callable[[_Report], str], *, as_json: bool, several: bool
) -> None:
    """Print the reports of one command, each as `text` says it, or all as JSON."""
    if as_json:
        print_json(reports, several=several)
    else:
        tell("\n\n".join(text(report) for report in reports))


def print_json(reports: Sequence[Told], *, several: bool) -> None:
    """Print one JSON object: the only report, or those of several jobs under `jobs`."""
    objects = [report.as_json() for report in reports]
    print_object({"jobs": objects} if several else objects[0])


def print_object(values: Mapping[str, Any]) -> None:
    """Print JSON values as one object."""
    click.echo(json.dumps(values, indent=2))
