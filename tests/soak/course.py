"""Takes one seed of the soak from its full run to its last drain, beside an application.

Invariant: what the target has to hold is worked out from the rows by none of the engine's code; every process
that is started here has ended before a seed's outcome is told.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol

from tests.campaign import checks
from tests.campaign.faults import Faults
from tests.campaign.history import Entry
from tests.campaign.stub import RUNNER, TABLE
from tests.campaign.target import Stub, stub_of
from tests.soak.application import Application, Writer
from tests.soak.plan import BLOWS, Blow, LogPlan
from tests.support import loads
from tests.support.command import Command, Ended, kill_group
from tests.support.kills import BUSY

RUN_S = 600.0
"""Generous: a run may wait for transactions that are open, and a busy machine is slow."""
STOP_S = 60.0
EARLIEST_S, LATEST_S = 0.3, 6.0
"""When a blow falls; starting takes one to three of them."""
PAUSE_S = (0.5, 3.0)
FOLLOWED_S = (2.0, 8.0)
ARRIVE_S = 60.0
"""How long a follower may go without getting any further."""
BUSY_S = 60.0
SHOWN = 3
Item = dict[str, Any]


class Living(Protocol):
    """A source that an application works on."""

    section: dict[str, Any]
    rules: list[dict[str, Any]]
    writers: Sequence[Writer]

    def fill(self) -> None:
        """Make the tables and their first rows."""

    def expected(self) -> Mapping[str, Item]:
        """Return the items that the rows make now, by `PK|SK`."""

    def now(self) -> int | None:
        """Return how far the log has come; None: it can't be said as a number."""

    def confirmed(self) -> int:
        """Return how far the server was told that its log was read."""

    def kept(self) -> int:
        """Return how much the server has of what a job keeps of its log."""


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


class Course:
    """One seed as it goes."""

    def __init__(self, plan: LogPlan, living: Living, stub: Stub, folder: Path) -> None:
        self._plan, self._living, self._stub = plan, living, stub
        self._random: Random = plan.random("course")
        self.outcome = LogOutcome(plan)
        target = {"type": "dynamodb", "table": TABLE, "endpoint_url": stub.endpoint, "region": "us-east-1"}
        job = {"name": "soak", "source": living.section, "target": target, "items": living.rules}
        self._command = Command(folder, job)

    def run(self) -> LogOutcome:
        """Do all of it."""
        self._living.fill()
        self._stub.create()
        with Application(self._living.writers) as application:
            self._full_run()
            for _ in range(self._plan.catch_ups):
                self._one("run", self._blow())
                application.see()
            if not self._plan.quick:
                application.rest()
                self._drained("after the catch-up runs")
                application.wake()
            for _ in range(self._plan.follows):
                self._followed(application)
            application.rest()
            self._drained("in the end")
            self.outcome.turns = application.turns
        self._looked_back()
        return self.outcome

    def _blow(self) -> Blow | None:
        return self._random.choice(BLOWS) if self._random.random() < self._plan.blow_share else None

    def _full_run(self) -> None:
        """Load everything; half of the seeds have their first run struck."""
        self._one("run", self._random.choice((None, *BLOWS)))
        self._complete()

    def _followed(self, application: Application) -> None:
        """Follow for a while, then be struck, or stopped once everything has arrived."""
        process, log = self._started("run", "--follow")
        blow = self._blow()
        struck = blow is not None and self._struck(process, blow, FOLLOWED_S)
        if blow in (None, "pause"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self._random.uniform(*FOLLOWED_S))
            application.rest()
            self._arrived(process)
            application.wake()
            struck, blow = True, "sigterm"
            process.terminate()
        self._judge(self._ended(process, log), blow if struck else None)

    def _arrived(self, process: "subprocess.Popen[str]") -> None:
        """With the application at rest: wait until a follower has brought everything."""
        expected = self._living.expected()
        deadline, before = time.monotonic() + ARRIVE_S, dict[str, Item]()
        while process.poll() is None:
            found = loads.items(self._stub.endpoint, TABLE)
            differences = self._differences(expected, found)
            if not differences:
                return
            if found != before:
                deadline, before = time.monotonic() + ARRIVE_S, found
            if time.monotonic() > deadline:
                self._failed(f"a follower gets no further for {ARRIVE_S:g} s: {differences[0]}")
                return
            time.sleep(1.0)

    def _drained(self, when: str) -> None:
        """With the application at rest: read all that there is, then compare."""
        end = self._living.now()
        self._complete()  # one that was struck is gone on with: it ends where it was to end
        self._complete()
        expected, found = self._living.expected(), loads.items(self._stub.endpoint, TABLE)
        self.outcome.items = len(expected)
        self.outcome.failures += [f"{when}: {each}" for each in self._differences(expected, found)]
        if end is not None and (confirmed := self._living.confirmed()) < end:
            self._failed(f"{when}: the log is kept from {confirmed} on, and all up to {end} was read")

    def _differences(self, expected: Mapping[str, Item], found: Mapping[str, Item]) -> list[str]:
        wanted = {
            key: {name: loads.exact(value) for name, value in item.items()} for key, item in expected.items()
        }
        told = []
        for what, keys in (
            ("missing", wanted.keys() - found.keys()),
            ("extra", found.keys() - wanted.keys()),
            ("different", {key for key in wanted.keys() & found.keys() if wanted[key] != found[key]}),
        ):
            if not keys:
                continue
            key = min(keys)
            item = f"is {_short(found.get(key))}, must be {_short(wanted.get(key))}"
            item += f"; its last writes: {self._past(key)}"
            told.append(
                f"{len(keys)} of {len(wanted)} items are {what}, as {sorted(keys)[:SHOWN]}: {key} {item}"
            )
        return told

    def _past(self, key: str) -> str:
        """Tell the last writes of a key."""
        last = [
            f"{entry.runner} {'delete' if write.version is None else f'rev {write.version}'}"
            f" ({entry.fault or 'well'}{'' if place in entry.applied else ', not applied'})"
            for entry in self._stub.history()
            for place, write in enumerate(entry.writes)
            if write.key == key
        ]
        return "; ".join(last[-SHOWN:]) or "none"

    def _looked_back(self) -> None:
        """Hold what the target saw against the order of writes; ask verify, and let the log go."""
        entries: Sequence[Entry] = self._stub.history()
        self.outcome.writes = sum(len(entry.applied) for entry in entries)
        for found in (
            checks.in_flight(entries),
            checks.client_in_flight(entries),
            checks.two_runners(entries),
            checks.going_back(entries),
        ):
            self.outcome.failures += found
        verified = self._command.here("verify", "--full", "--json")
        if verified.code != 0 or verified.report["consistency_percent"] != 100:
            self._failed(
                f"verify ends with {verified.code}: {verified.stdout[:600]} {verified.stderr[-600:]}"
            )
        let_go = self._command.here("log drop")
        if let_go.code != 0 or self._living.kept():
            self._failed(f"log drop ends with {let_go.code}, {self._living.kept()} are left: {let_go.stderr}")

    def _complete(self) -> None:
        """Run until a run has ended by itself."""
        ended = self._one("run", None)
        if ended.code == 0:
            loads.assert_balanced(ended.report)

    def _one(self, command: str, blow: Blow | None) -> Ended:
        """Run the command once; wait for the workers of one that was killed; see how it ends."""
        waits_until = time.monotonic() + BUSY_S
        while True:
            process, log = self._started(*command.split())
            struck = blow is not None and self._struck(process, blow, (EARLIEST_S, LATEST_S))
            ended = self._ended(process, log)
            if ended.code == 2 and BUSY in ended.stderr and time.monotonic() < waits_until:
                time.sleep(0.2)
                continue
            self._judge(ended, blow if struck else None)
            return ended

    def _started(self, *arguments: str) -> tuple["subprocess.Popen[str]", Path]:
        self.outcome.runs += 1
        name = f"{RUNNER}-{self.outcome.runs}"
        log = self._command.folder / f"{name}.err"
        workers = "2" if self._random.random() < 0.3 else "1"
        keys = {"AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": "secret"}
        return self._command.start(*arguments, "--json", "--workers", workers, log=log, env=keys), log

    def _struck(self, process: "subprocess.Popen[str]", blow: Blow, within: tuple[float, float]) -> bool:
        """Strike a run after a while; say whether it was there still."""
        try:
            process.wait(self._random.uniform(*within))
        except subprocess.TimeoutExpired:
            self.outcome.blows[blow] += 1
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

    def _ended(self, process: "subprocess.Popen[str]", log: Path) -> Ended:
        try:
            stdout = ""
            if process.stdout is not None and not process.stdout.closed:
                stdout, _ = process.communicate(timeout=RUN_S)
        except subprocess.TimeoutExpired:
            kill_group(process)
            self._failed(f"a run didn't end within {RUN_S:g} s: {log.read_text()[-600:]}")
            stdout = ""
        return Ended(process.returncode, stdout, log.read_text())

    def _judge(self, ended: Ended, blow: Blow | None) -> None:
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
            self._failed(f"run {self.outcome.runs} {how}: {ended.stderr[-800:]}")

    def _failed(self, sentence: str) -> None:
        self.outcome.failures.append(sentence)


def _short(item: Mapping[str, Any] | None) -> str:
    return "not there" if item is None else str({name: str(value)[:60] for name, value in item.items()})


def run_log_seed(plan: LogPlan, living: Living, folder: Path) -> LogOutcome:
    """Run one seed against a source that is there; `folder` is for its state alone."""
    begun = time.monotonic()
    folder.mkdir(parents=True)
    faults = Faults(seed=plan.seed, rates=plan.faults, latency_s=0.006)
    with stub_of(faults, folder / "stub.log") as stub:
        outcome = Course(plan, living, stub, folder).run()
    outcome.elapsed_s = time.monotonic() - begun
    return outcome
