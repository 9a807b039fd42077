"""What verify tells on stderr while it goes on: sentences, and how far it has got.

Invariant: how far it has got is one line that is written over on a terminal, and one every ten seconds
elsewhere.
"""

import sys
from collections.abc import Callable
from time import monotonic

import click

from engine.run.echoes import Once
from engine.show import lines
from engine.show.console import say

TERMINAL_S, LOG_S = 0.5, 10.0


class Narrator:
    """Tells the user, and keeps the notices for the report."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self._live = sys.stderr.isatty() and lines.style == lines.Style()
        self._every_s = TERMINAL_S if self._live else LOG_S
        self._due_at = monotonic() + self._every_s
        self._shown = False
        self._once = Once(self.say)

    def say(self, text: str) -> None:
        """Say a sentence."""
        self.clear()
        say(text)

    def notice(self, text: str) -> None:
        """Say something that belongs into the report; several processes may say it."""
        if text not in self.notices:
            self.notices.append(text)
        self._once(text)

    def counting(self, what: str) -> Callable[[int], None]:
        """Return what is told of each further number of things that are done."""
        total = 0

        def step(count: int) -> None:
            nonlocal total
            total += count
            if monotonic() >= self._due_at:
                self._due_at = monotonic() + self._every_s
                text = f"{total:,} {what}"
                if self._live:
                    click.echo(f"\rbackfill: {text}", err=True, nl=False)
                else:
                    fields = {"count": total, "of": what}
                    lines.tell(text, text=f"backfill: {text}", event="progress", fields=fields)
                self._shown = self._live

        return step

    def clear(self) -> None:
        """End the line that is written over."""
        if self._shown:
            click.echo("", err=True)
            self._shown = False
