"""Processes of this host that fall silent while something waits for them: told, since that may be for good.

Invariant: a process that answers is never held for silent because the one that listens was stopped itself;
nothing is taken from a silent one, for it goes on when it wakes, and is done with when it dies.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from engine.commands.run.processes import WorkerProcess
from engine.run.beats import SILENCE_S

SILENT_S = SILENCE_S
"""After so long without a word a process is told of: workers of other hosts are lost then. One that is well
says something at least once a second."""
LOOKED_EVERY_S = 1.0


class Silence:
    """How long a process has said nothing, and whether that was told. Units: seconds."""

    def __init__(self) -> None:
        self._said = 0
        self._silent_s = 0.0
        self.told = False

    def look(self, said: int, passed_s: float, *, awaited: bool) -> float | None:
        """Take in how many messages there were by now; return how long there was none, if that is news.

        `passed_s` is since the look before: it counts for no more than a look takes, since whoever looks may
        have slept. `awaited`: whether anything waits for the process.
        """
        silent_s, told = self._silent_s, self.told
        if said != self._said or not awaited:
            self._said, self._silent_s, self.told = said, 0.0, False
            return silent_s if told else None
        self._silent_s += min(passed_s, LOOKED_EVERY_S)
        if told or self._silent_s < SILENT_S:
            return None
        self.told = True
        return self._silent_s


async def silence_told(
    process: WorkerProcess[Any, Any], who: str, waits: Callable[[], str | None], tell: Callable[[str], None]
) -> None:
    """Tell when a process falls silent, and when it is back, for as long as it lives.

    `waits` says what waits for it, and what if it is killed; None while nothing does. One that never spoke
    has nothing that could.
    """
    pid, silence, clock = process.process.pid, Silence(), asyncio.get_running_loop().time
    looked_s = clock()
    while process.process.returncode is None:
        with suppress(TimeoutError):
            await asyncio.wait_for(process.process.wait(), LOOKED_EVERY_S)
        now, what = clock(), waits()
        awaited = what is not None and process.link.heard and process.process.returncode is None
        silent_s = silence.look(process.link.messages, now - looked_s, awaited=awaited)
        looked_s = now
        if silent_s is None:
            continue
        if silence.told:
            tell(
                f"{who} {pid} has said nothing for {silent_s:.0f} s: it is stopped, or hangs; {what}"
                f" (kill -CONT {pid} wakes one that is stopped)"
            )
        elif process.process.returncode is None:
            tell(f"{who} {pid} is back, after {silent_s:.0f} s")
