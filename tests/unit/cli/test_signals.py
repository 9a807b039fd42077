"""Who handles SIGINT and SIGTERM when: held while modules load, handed back after a run."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from engine.cli import signals
from engine.run.stopping import StopTogether, stop_on_signals
from engine.run.voice import Voice


@pytest.fixture(autouse=True)
def handlers_as_they_were() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in signals.ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", signals.ENDING)
def test_a_signal_during_imports_waits_for_their_end(number: int) -> None:
    reached: list[int] = []

    def load() -> None:
        with signals.held():
            os.kill(os.getpid(), number)
            reached.append(number)

    signals.take()
    with pytest.raises(KeyboardInterrupt):
        load()
    assert reached, "an import was torn: what comes out of it is anybody's guess"


def test_a_fault_during_imports_is_told_rather_than_the_signal_behind_it() -> None:
    def load() -> None:
        with signals.held():
            os.kill(os.getpid(), signal.SIGINT)
            raise ImportError("no module named x")

    signals.take()
    with pytest.raises(ImportError):
        load()


@pytest.mark.parametrize("number", signals.ENDING)
def test_outside_imports_it_is_an_interrupt(number: int) -> None:
    signals.take()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", signals.ENDING)
def test_both_cancel_an_event_loop_instead_of_tearing_it(number: int) -> None:
    cleaned_up: list[bool] = []

    async def command() -> None:
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
        finally:
            cleaned_up.append(True)

    signals.take()
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(command())
    assert cleaned_up == [True]


async def test_a_run_hands_back_the_handlers_that_it_found() -> None:
    told: list[str] = []
    signals.take()
    found = [signal.getsignal(number) for number in signals.ENDING]
    with stop_on_signals(lambda: told.append("stop"), Voice(())) as interrupted:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(interrupted.wait(), 100)
    assert told == ["stop"]
    assert [signal.getsignal(number) for number in signals.ENDING] == found


def test_runs_that_stop_together_all_hear_it_and_one_that_comes_later_at_once() -> None:
    told: list[str] = []
    together = StopTogether()
    with together.heard(lambda: told.append("first"), Voice(())) as asked:
        with together.heard(lambda: told.append("gone"), Voice(())):
            pass
        assert not asked.is_set()
        together.ask()
        assert asked.is_set()
    with together.heard(lambda: told.append("late"), Voice(())):
        pass
    assert told == ["first", "late"]


def test_a_process_that_a_command_starts_leaves_signals_to_it_before_it_imports_what_takes_long() -> None:
    """Ctrl-C meets it, too, and would be a traceback in the middle of an import."""
    heavy = "{'connectors', 'engine.commands', 'pydantic', 'polars', 'pyarrow', 'uvloop'}"
    code = f"import sys, engine.child; print(*sorted({heavy} & {{*sys.modules}}))"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout == "\n"
