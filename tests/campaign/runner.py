"""Takes one seed from its plan to its checks: runs, is killed or stopped as planned, resumes until done.

Invariant: every process that is started here has ended before a seed's outcome is told.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors.dynamodb.limits import REQUEST_LIFE_S
from tests.campaign import checks
from tests.campaign.faults import KINDS
from tests.campaign.history import faults_seen, written
from tests.campaign.plan import KILLS, Event, Plan
from tests.campaign.rows import expected, preloaded, rows_of, rules
from tests.campaign.sources import MongoRows, PostgresRows, source_of
from tests.campaign.stub import RUNNER, TABLE, TOO_LATE_S
from tests.campaign.target import Stub, stub_of
from tests.support.command import Command, Ended, kill_group

SEED_S = 150.0
"""All of a seed's runs together; without load a seed takes 5 to 10 s."""
STOP_S = 30.0
"""Generous: a clean stop promises five seconds, on a machine that isn't busy."""
LOOK_S = 0.02
UNEXPLAINED_MAX = 3
"""A run that ends so often without a reason isn't started again."""
FAIR: Mapping[str, tuple[int, ...]] = {
    "kill_runner": (-signal.SIGKILL,),
    "kill_all": (-signal.SIGKILL,),
    "kill_worker": (1, -signal.SIGKILL),
    "sigint": (130,),
    "sigterm": (130,),
}
"""How a run may end of a blow, if it isn't done before."""
BUSY = "already being run"
BUSY_PAUSE_S = 0.3


@dataclass
class Outcome:
    """What a seed came to."""

    plan: Plan
    failures: list[str] = field(default_factory=list)
    runs: int = 0
    kills: int = 0
    stops: int = 0
    moved: bool = False
    requests: int = 0
    writes: int = 0
    strays: int = 0
    checks: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    elapsed_s: float = 0.0
    ends: list[str] = field(default_factory=list)


@dataclass
class Life:
    """One run of the command: its process, and the spans in which it could work."""

    name: str
    process: "subprocess.Popen[Any]"
    folder: Path
    spans: list[tuple[float, float]]
    begun: float

    def ended(self) -> Ended:
        stdout, stderr = (self.folder / f"{self.name}.{each}" for each in ("out", "err"))
        return Ended(self.process.returncode, stdout.read_text(), stderr.read_text())


class Seed:
    """One seed as it goes."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        stub: Stub,
        source: PostgresRows | MongoRows,
        told_to_end: threading.Event,
    ) -> None:
        self._plan, self._folder, self._stub, self._source = plan, folder, stub, source
        self._told_to_end = told_to_end
        self.outcome = Outcome(plan)
        self._events = list(plan.events)
        self._deadline = time.monotonic() + SEED_S
        self._rows = rows_of(plan)
        self._spans: dict[str, list[tuple[float, float]]] = {}
        job: dict[str, Any] = {
            "name": "campaign",
            "source": {**source.section, "batch_rows": plan.batch_rows},
            "target": {
                "type": "dynamodb", "table": TABLE, "endpoint_url": stub.endpoint, "region": "us-east-1",
                "mode": plan.mode,
            },
            "items": rules(plan),
        }  # fmt: skip
        if plan.mode == "newer":
            job["target"]["version"] = "rev"
        if plan.max_wcu is not None:
            job["target"]["max_wcu"] = plan.max_wcu
        self._command = Command(folder, job)

    def run(self) -> Outcome:
        """Do all of it."""
        self._source.fill(self._rows)
        self._stub.create()
        before = preloaded(self._plan)
        self._stub.put(before)
        expect = expected(self._plan, self._rows, before)
        done = self._runs(3 if expect.dead else 0)
        time.sleep(self._plan.faults.late_apply_s)
        entries = self._stub.history()
        outcome = self.outcome
        outcome.requests, outcome.writes = len(entries), written(entries)
        outcome.strays, outcome.faults = checks.strays(entries), faults_seen(entries)
        faults_end = None
        if self._plan.faults.lasts_s is not None and entries:
            faults_end = entries[0].arrived + self._plan.faults.lasts_s
            if any(KINDS[kind].slow for kind in self._plan.faults.rates):
                faults_end += TOO_LATE_S  # the last answers may be waited for so long
            if (self._plan.shape, self._plan.mode) == ("colliding", "put"):
                faults_end += REQUEST_LIFE_S  # so long keys of lost requests are held, and the run says so
        found = [
            checks.in_flight(entries),
            checks.client_in_flight(entries),
            checks.two_runners(entries),
            checks.going_back(entries) if self._plan.mode == "put" else [],
            checks.left_by_strays(entries) if self._plan.mode == "put" else [],
            [] if self._plan.max_wcu else checks.pace(entries, faults_end, self._spans),
        ]
        if done is not None:
            found += [
                checks.end_state(expect.items, self._stub.items()),
                checks.balance(done.report, expect, len(self._rows)),
                checks.dead_letters(expect, self._command.dead_letters()),
            ]
        elif self._plan.move is None:
            found.append(["it wasn't done in the end"])
        outcome.checks += len(found)
        for each in found:
            outcome.failures += each
        return outcome

    def _runs(self, code: int) -> Ended | None:
        """Run, resume … until it is done, or can't be. Return the end of the last run if it was done."""
        endings = len(self._plan.faults.ending_at)
        refused = unexplained = 0
        while self._goes_on():
            blow, ended = self._one()
            last = ended.stderr.strip().splitlines()[-1:] or [""]
            if "Traceback" in ended.stderr or "internal error" in ended.stderr:
                self._failed(f"an internal error: {last[0]}")
                return None
            if ended.code == code:
                return ended
            if ended.code == 2 and BUSY in ended.stderr:
                time.sleep(BUSY_PAUSE_S)
                continue
            if not last[0] and ended.code != -signal.SIGKILL:
                self._failed(f"ended with {ended.code} and no word")
            if self.outcome.moved and ended.code in (1, 2):
                refused += 1
                if refused == 2:
                    return None
                continue
            if blow is not None and ended.code in FAIR[blow.blow]:
                continue
            if ended.code == 1 and endings:
                endings -= 1
                continue
            self._failed(f"ended with {ended.code} for no good reason: {last[0]}")
            unexplained += 1
            if ended.code != 1 or unexplained == UNEXPLAINED_MAX:
                return None
        self._failed("told to end" if self._told_to_end.is_set() else f"wasn't done within {SEED_S:g} s")
        return None

    def _goes_on(self) -> bool:
        return time.monotonic() < self._deadline and not self._told_to_end.is_set()

    def _one(self) -> tuple[Event | None, Ended]:
        """Run the command once, with what befalls it; return the blow that ended it, and how it ended."""
        life = self._start()
        blow: Event | None = None
        try:
            while life.process.poll() is None and self._goes_on():
                if blow is None and (self._events or self._move_waits(between=False)):
                    blow = self._look(life)
                elif (
                    blow is not None
                    and time.monotonic() > life.begun + STOP_S
                    and not blow.blow.startswith("kill")
                ):
                    self._failed(f"didn't stop within {STOP_S:g} s of {blow.blow}")
                    break
                time.sleep(LOOK_S)
        finally:
            if life.process.poll() is None:
                kill_group(life.process)
            life.process.wait()
        self._spans[life.name] = [*life.spans, (life.begun, time.monotonic())]
        return blow, life.ended()

    def _look(self, life: Life) -> Event | None:
        """Do what is due by now; return a blow that should end the run."""
        counts = self._stub.counts()
        count = counts["applied"]
        if self._move_waits(between=False) and count >= self._plan.move.at_written:
            self._move()
            return None
        if self._move_waits(between=True) and count >= self._plan.move.at_written:
            kill_group(life.process)
            self.outcome.kills += 1
            self._move()
            return Event(count, "kill_all")
        if not self._events or count < self._events[0].at_written:
            return None
        if counts["runner"] != life.name and self._events[0].blow not in KILLS:
            return None  # a process that only starts hasn't said yet how it takes signals
        event = self._events.pop(0)
        return event if self._strike(life, event) else None

    def _strike(self, life: Life, event: Event) -> bool:
        """Do it; say whether the run should end of it."""
        pid = life.process.pid
        if event.blow in KILLS:
            self.outcome.kills += 1
        else:
            self.outcome.stops += 1
        match event.blow:
            case "kill_all":
                kill_group(life.process)
            case "kill_runner":
                life.process.kill()
            case "kill_worker":
                workers = children(pid)
                if not workers:
                    life.process.kill()
                    return True
                os.kill(workers[0], signal.SIGKILL)
            case "pause":
                now = time.monotonic()
                life.spans.append((life.begun, now))
                for each in (pid, *children(pid)):
                    os.kill(each, signal.SIGSTOP)
                time.sleep(event.lasts_s)
                for each in (*children(pid), pid):
                    os.kill(each, signal.SIGCONT)
                life.begun = time.monotonic()
                return False
            case "sigint" | "sigterm":
                life.spans.append((life.begun, time.monotonic()))
                life.process.send_signal(signal.SIGINT if event.blow == "sigint" else signal.SIGTERM)
        life.begun = time.monotonic()
        return True

    def _start(self) -> Life:
        self.outcome.runs += 1
        name = f"{RUNNER}-{self.outcome.runs}"
        path = self._command.write_job()
        arguments = ["run", path.name, "--json", "--workers", str(self._plan.workers)]
        with (
            (self._folder / f"{name}.out").open("wb") as out,
            (self._folder / f"{name}.err").open("wb") as err,
        ):
            process = subprocess.Popen(
                [sys.executable, "-m", "engine", *arguments],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                env={
                    **os.environ,
                    "PYTHONWARNINGS": "ignore",
                    "AWS_ACCESS_KEY_ID": name,
                    "AWS_SECRET_ACCESS_KEY": "secret",
                    "AWS_EC2_METADATA_DISABLED": "true",
                },
            )
        return Life(name, process, self._folder, [], time.monotonic())

    def _move_waits(self, *, between: bool) -> bool:
        move = self._plan.move
        return move is not None and not self.outcome.moved and move.between is between

    def _move(self) -> None:
        assert self._plan.move is not None, "asked to move"
        self.outcome.moved = True
        if self._plan.move.name == "target_recreated":
            self._stub.recreate()
        else:
            self._source.move(self._plan.move.name, self._rows)

    def _failed(self, sentence: str) -> None:
        self.outcome.failures.append(sentence)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(line) for line in found.stdout.split()]


def run_seed(
    plan: Plan, postgres: str, mongodb: str, folder: Path, told_to_end: threading.Event | None = None
) -> Outcome:
    """Run one seed against servers that are there; `folder` is for its state alone."""
    begun = time.monotonic()
    folder.mkdir(parents=True)
    with source_of(plan, postgres, mongodb) as source, stub_of(plan.faults, folder / "stub.log") as stub:
        outcome = Seed(plan, folder, stub, source, told_to_end or threading.Event()).run()
    outcome.elapsed_s = time.monotonic() - begun
    return outcome
