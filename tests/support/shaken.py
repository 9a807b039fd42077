"""A pytest plugin (`make shake`) that makes threads, event loops and children slow at random places.

Invariant: nothing comes in an order that it couldn't come in, and everything comes: a test that fails hopes
for some timing, or has found a race. A seed gives each test the same pauses again, if not at the same places.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from random import Random
from typing import Any

import pytest

SEED = "SHAKE_SEED"
"""The variable that holds the seed; those of this run's processes have it from the first one."""
BUDGET_S = 2.0
"""How much longer a test may take for its pauses."""
OFTEN = (0.6, 0.25, 0.08, 0.02)
"""How often there is a pause where one may be, by test: some races need many of them, and some a rare one."""
PAUSES_S = (0.02, 0.05, 0.3, 0.6)
"""How long a pause may be: most are short."""
SWITCHES_S = (1e-5, 1e-4, 0.005, 0.05)
"""How long one thread may keep others from going on."""
STOPPED_S = (0.3, 1.0)
"""How long a child that has just been started may get no CPU."""

_sleep = time.sleep  # whatever a test puts in its place

os.environ.setdefault(SEED, str(time.time_ns() % 1_000_000))


class Shaking:
    """The pauses of one test."""

    def __init__(self, test: str) -> None:
        self._chance = Random(f"{os.environ[SEED]}:{test}")
        self._often = self._chance.choice(OFTEN)
        self._left_s = BUDGET_S
        sys.setswitchinterval(self._chance.choice(SWITCHES_S))

    def pause(self) -> None:
        """Take some time, or none."""
        if self._left_s > 0 and self._chance.random() < self._often:
            pause_s = self._chance.uniform(0.0, self._chance.choice(PAUSES_S))
            self._left_s -= pause_s
            _sleep(pause_s)

    def hold_up(self, pid: int) -> None:
        """Stop a child of this process for a moment, or don't."""
        if self._chance.random() >= self._often:
            return
        with contextlib.suppress(OSError):  # it has ended already
            child = os.pidfd_open(pid)  # by it no signal ever reaches another process
            signal.pidfd_send_signal(child, signal.SIGSTOP)
            lasts_s = self._chance.uniform(*STOPPED_S)
            threading.Thread(target=_go_on, args=(child, lasts_s), daemon=True).start()


def _go_on(child: int, after_s: float) -> None:
    _sleep(after_s)
    with contextlib.suppress(OSError):
        signal.pidfd_send_signal(child, signal.SIGCONT)
    os.close(child)


_now: Shaking | None = None


def pause() -> None:
    """Take some time where a test is under way."""
    if _now is not None:
        _now.pause()


def _shake(patch: pytest.MonkeyPatch) -> None:
    """Have work in threads begin and end late, rounds of event loops begin late, and children start late."""
    submit, run_once = ThreadPoolExecutor.submit, asyncio.BaseEventLoop._run_once  # type: ignore[attr-defined]
    started = subprocess.Popen.__init__

    def late_submit(
        threads: ThreadPoolExecutor, work: Callable[..., Any], /, *args: Any, **named: Any
    ) -> Future[Any]:
        def late() -> Any:
            pause()
            try:
                return work(*args, **named)
            finally:
                pause()

        return submit(threads, late)

    def late_round(loop: asyncio.BaseEventLoop) -> None:
        pause()
        run_once(loop)

    def late_start(child: "subprocess.Popen[Any]", *args: Any, **named: Any) -> None:
        started(child, *args, **named)
        if _now is not None:
            _now.hold_up(child.pid)

    patch.setattr(ThreadPoolExecutor, "submit", late_submit)
    patch.setattr(asyncio.BaseEventLoop, "_run_once", late_round)
    patch.setattr(subprocess.Popen, "__init__", late_start)


@pytest.fixture(scope="session", autouse=True)
def shaken_world() -> Iterator[None]:
    """Shake for as long as tests run."""
    with pytest.MonkeyPatch.context() as patch:
        _shake(patch)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Give each test its pauses."""
    global _now
    _now = Shaking(item.nodeid)
    try:
        return (yield)  # type: ignore[misc]
    finally:
        _now = None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what gives the same pauses again."""
    terminalreporter.write_line(f"shaken by {SEED}={os.environ[SEED]}")
