"""What a process says of itself is its own."""

import asyncio
import subprocess
import sys
from typing import Any, cast

import pytest

from engine.commands.run import processes
from engine.commands.run.processes import WorkerProcess

PARENT = """
import subprocess, sys
held = b"x" * 500_000_000
child = "from engine.commands.run.processes import usage; print(usage().peak_rss_bytes)"
subprocess.run([sys.executable, "-c", child], check=True)
"""


def test_the_peak_of_memory_is_not_the_parents() -> None:
    ended = subprocess.run([sys.executable, "-c", PARENT], capture_output=True, text=True, check=True)
    assert 0 < int(ended.stdout) < 400_000_000


class Ending:
    """A process that ends in the moment in which it is given up, and the link to it."""

    heard = True

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def close(self) -> None:
        """Close the link."""

    async def wait(self) -> None:
        await self.ended.wait()

    def kill(self) -> None:
        self.ended.set()
        raise ProcessLookupError


async def test_a_worker_that_ends_when_it_is_given_up_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_S", 0.0)
    ending = cast("Any", Ending())
    await WorkerProcess(ending, ending).end()
    assert ending.ended.is_set()
