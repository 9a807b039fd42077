"""What commands print: reports on stdout, for people or for programs, and sentences on stderr.

Invariant: stdout carries reports only, and nothing is printed that steers a terminal or gives a secret away.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import click

from engine.masking import printable
from engine.show import lines


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
    """Print a report in words."""
    click.echo(printable(text))


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
