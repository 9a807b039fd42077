"""The runs of one seed: started, struck while they go on, and judged by how they ended.

Invariant: every process that is started here has ended before it is judged.
"""

import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.campaign.stub import RUNNER
from tests.soak.plan import Blow, LogPlan
from tests.support import loads
from tests.support.command import Command, Ended, kill_group
from tests.support.kills import BUSY

RUN_S = 600.0
"""Generous: a run may wait for transactions that are open, and a busy machine is slow."""
EARLIEST_S, LATEST_S = 0.3, 6.0
"""When a blow falls; starting takes one to three of them."""
PAUSE_S = (0.5, 3.0)
BUSY_S = 60.0


@dataclass(slots=True)
class LogOutcome:
    """What a seed came to."""

    plan: LogPlan
    failures: list[str] = field(default_factory=list)
    runs: int = 0
    blows: Counter[str] = field(default_factory=Counter)
    turns: int = 0
    writes: int = 0
    items: int = 0
    elapsed_s: float = 0.0

    def failed(self, sentence: str) -> None:
        """Note what went wrong."""
        self.failures.append(sentence)

    @property
    def line(self) -> str:
        """One line for people, and below it what failed and how to have it again."""
        blows = ", ".join(f"{count} {name}" for name, count in sorted(self.blows.items()))
        verdict = "FAILED" if self.failures else "well: 100 %"
        told = (
            f"{self.plan.said}; {self.turns} transactions, {self.runs} runs ({blows or 'no blows'}),"
            f" {self.writes} writes, {self.items} items in the end, {self.elapsed_s:.0f} s  {verdict}"
        )
        if not self.failures:
            return told
        return "\n".join([told, *(f"    {each}" for each in self.failures), f"    again: {self.plan.again}"])


class StruckRuns:
    """Starts and strikes the runs of one seed, and notes what goes wrong."""

    def __init__(self, command: Command, random: Random, outcome: LogOutcome) -> None:
        self._command, self._random, self._outcome = command, random, outcome

    def asked(self, *arguments: str) -> Ended:
        """Run a command to its end: in this process where nobody else has its stdout."""
        alone = threading.current_thread() is threading.main_thread()
        return self._command.here(*arguments) if alone else self._command.run(*arguments, timeout_s=RUN_S)

    def complete(self, command: str = "run") -> None:
        """Run until a run has ended by itself."""
        ended = self.one(command, None)
        if ended.code == 0:
            for report in reports(ended):
                loads.assert_balanced(report)

    def one(self, command: str, blow: Blow | None) -> Ended:
        """Run the command once; wait for the workers of one that was killed; see how it ends."""
        waits_until = time.monotonic() + BUSY_S
        while True:
            process, log = self.started(*command.split())
            struck = blow is not None and self.struck(process, blow, (EARLIEST_S, LATEST_S))
            ended = self.ended(process, log)
            if ended.code == 2 and BUSY in ended.stderr and time.monotonic() < waits_until:
                time.sleep(0.2)
                continue
            self.judge(ended, blow if struck else None)
            return ended

    def started(self, *arguments: str) -> tuple["subprocess.Popen[str]", Path]:
        """Start a command; return its process, and where its stderr goes."""
        self._outcome.runs += 1
        name = f"{RUNNER}-{self._outcome.runs}"
        log = self._command.folder / f"{name}.err"
        workers = "2" if self._random.random() < 0.3 else "1"
        keys = {"AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": "secret"}
        return self._command.start(*arguments, "--json", "--workers", workers, log=log, env=keys), log

    def struck(self, process: "subprocess.Popen[str]", blow: Blow, within: tuple[float, float]) -> bool:
        """Strike a run after a while; say whether it was there still."""
        try:
            process.wait(self._random.uniform(*within))
        except subprocess.TimeoutExpired:
            self._outcome.blows[blow] += 1
        else:
            return False
        match blow:
            case "kill_all":
                kill_group(process)
            case "kill_runner":
                process.kill()
            case "pause":
                os.killpg(process.pid, signal.SIGSTOP)
                time.sleep(self._random.uniform(*PAUSE_S))
                os.killpg(process.pid, signal.SIGCONT)
            case "sigterm" | "sigint":
                process.send_signal(signal.SIGTERM if blow == "sigterm" else signal.SIGINT)
        return True

    def ended(self, process: "subprocess.Popen[str]", log: Path) -> Ended:
        """Wait for a process, and end one that doesn't by itself."""
        try:
            stdout = ""
            if process.stdout is not None and not process.stdout.closed:
                stdout, _ = process.communicate(timeout=RUN_S)
        except subprocess.TimeoutExpired:
            kill_group(process)
            self._outcome.failed(f"a run didn't end within {RUN_S:g} s: {log.read_text()[-600:]}")
            stdout = ""
        return Ended(process.returncode, stdout, log.read_text())

    def judge(self, ended: Ended, blow: Blow | None) -> None:
        """Note what no run may end with, struck or not."""
        fair = {0}
        if blow in ("kill_all", "kill_runner"):
            # A run may end by itself between the last look at it and the blow.
            fair = {0, -signal.SIGKILL}
        elif blow in ("sigterm", "sigint"):
            # A process that only begins hasn't said yet how it takes signals.
            fair = {0, 130, -signal.SIGTERM, -signal.SIGINT}
        internal = "Traceback" in ended.stderr or "internal error" in ended.stderr
        if ended.code not in fair or internal:
            how = f"ended with {ended.code} ({blow or 'no blow'})"
            self._outcome.failed(f"run {self._outcome.runs} {how}: {ended.stderr[-800:]}")


def reports(ended: Ended) -> Sequence[dict[str, Any]]:
    """Return the reports of a command, one for each job."""
    return ended.report.get("jobs", [ended.report])
