"""What blocks is done aside: its result comes back, its fault is raised, and nobody waits for it in vain."""

import asyncio
import subprocess
import sys

import pytest

from engine.tasks import aside


async def test_a_result_and_a_fault_come_back() -> None:
    assert await aside(lambda: 1) == 1
    with pytest.raises(ZeroDivisionError):
        await aside(lambda: 1 // 0)


def test_what_hangs_holds_up_neither_the_loop_nor_the_end() -> None:
    program = """
import asyncio, threading
from engine.tasks import aside

async def main():
    try:
        async with asyncio.timeout(0.05):
            await aside(threading.Event().wait)
    except TimeoutError:
        print("given up")

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "given up\n"), done.stderr


def test_what_ends_behind_the_loop_is_dropped() -> None:
    import threading

    go, gone = threading.Event(), threading.Event()

    def work() -> None:
        go.wait()
        gone.set()

    async def main() -> None:
        task = asyncio.create_task(aside(work))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(main())
    go.set()
    assert gone.wait(60)
