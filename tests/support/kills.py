"""Kill a run at random moments and resume it, as often as asked, until it is complete."""

import random
import signal
import subprocess
import time

from tests.support.command import Command, Ended, kill_group

BUSY = "already being run"


def run_with_kills(
    command: Command, rng: random.Random, *, kills: int, longest_s: float, workers: int
) -> tuple[Ended, int]:
    """Start the run, kill it, resume it …; return how the last one ended and how many were killed in time.

    Half of the kills take the runner alone: its workers must then end by themselves, and until they have,
    nobody else may run the job.
    """
    killed = 0
    for _ in range(kills):
        process = command.start("run", "--json", "--workers", str(workers))
        try:
            process.wait(timeout=rng.uniform(0.3, longest_s))
        except subprocess.TimeoutExpired:
            killed += 1
        if rng.random() < 0.5:
            kill_group(process)
        else:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    return finish(command, workers), killed


def finish(command: Command, workers: int) -> Ended:
    """Run to the end; wait while a killed run's workers still hold the lease."""
    deadline = time.monotonic() + 120
    while True:
        ended = command.run("run", "--json", "--workers", str(workers))
        if ended.code == 2 and BUSY in ended.stderr and time.monotonic() < deadline:
            time.sleep(0.1)
            continue
        return ended
