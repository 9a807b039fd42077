"""Takes one seed of the soak from its full run to its last drain, beside an application.

Invariant: what the target has to hold is worked out from the rows by none of the engine's code.
"""

import contextlib
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Protocol

from tests.campaign import checks
from tests.campaign.faults import Faults
from tests.campaign.history import Entry
from tests.campaign.stub import TABLE
from tests.campaign.target import Stub, stub_of
from tests.soak.application import Application, Writer
from tests.soak.plan import BLOWS, Blow, LogPlan
from tests.soak.runs import LogOutcome, StruckRuns
from tests.support import loads
from tests.support.command import Command

FOLLOWED_S = (2.0, 8.0)
ARRIVE_S = 60.0
"""How long a follower may go without getting any further."""
SHOWN = 3
AGAIN_SHARE = 0.25
"""How often one of several jobs is loaded again before a run, and followed alone."""
JOBS_MAX = 3
Item = dict[str, Any]


class Living(Protocol):
    """A source that an application works on."""

    jobs: Sequence[dict[str, Any]]
    """Those of the job file, each with its name, source and items."""
    writers: Sequence[Writer]

    def fill(self) -> None:
        """Make the tables and their first rows."""

    def job_of(self, key: str) -> str:
        """Return the name of the job whose items have such a key."""

    def expected(self) -> Mapping[str, Item]:
        """Return the items that the rows make now, by `PK|SK`."""

    def now(self) -> int | None:
        """Return how far the log has come; None: it can't be said as a number."""

    def confirmed(self) -> int:
        """Return how far the server was told that its log was read."""

    def kept(self) -> int:
        """Return how much the server has of what a job keeps of its log."""


class Course:
    """One seed as it goes."""

    def __init__(self, plan: LogPlan, living: Living, stub: Stub, folder: Path) -> None:
        self._plan, self._living, self._stub = plan, living, stub
        self._random: Random = plan.random("course")
        self.outcome = LogOutcome(plan)
        self._names = [job["name"] for job in living.jobs]
        target = {"type": "dynamodb", "table": TABLE, "endpoint_url": stub.endpoint, "region": "us-east-1"}
        loads_of = living.jobs[0] if len(living.jobs) == 1 else {"jobs": [*living.jobs]}
        command = Command(folder, {**loads_of, "target": target})
        self._runs = StruckRuns(command, self._random, self.outcome)

    def run(self) -> LogOutcome:
        """Do all of it."""
        self._living.fill()
        self._stub.create()
        with Application(self._living.writers) as application:
            self._full_run()
            for _ in range(self._plan.catch_ups):
                self._caught_up()
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
        self._runs.one(self._way(), self._random.choice((None, *BLOWS)))
        self._runs.complete()

    def _way(self) -> str:
        """Return a command that runs what there is: of several jobs all, or one of them."""
        if len(self._names) == 1:
            return "run"
        one = f"run --only {self._random.choice(self._names)}"
        return self._random.choice(
            ("run", "run --parallel-jobs 2", f"run --parallel-jobs {JOBS_MAX}", one, one)
        )

    def _caught_up(self) -> None:
        """Have a run, and perhaps load one of several jobs again before it."""
        if len(self._names) > 1 and self._random.random() < AGAIN_SHARE:
            self._loaded_again(self._random.choice(self._names))
        self._runs.one(self._way(), self._blow())

    def _loaded_again(self, name: str) -> None:
        """Load one of several jobs again, into nothing: what went since its last run nobody else tells."""
        # So that no process of a run that was struck writes any more.
        self._runs.complete(f"run --only {name}")
        found = loads.items(self._stub.endpoint, TABLE)
        self._stub.remove(key for key in found if self._living.job_of(key) == name)
        self.outcome.blows["fresh"] += 1
        before = self._last_run(name)
        # One that is struck early hasn't begun.
        while self._last_run(name) == before and not self.outcome.failures:
            self._runs.one(f"run --fresh --only {name}", self._blow())

    def _last_run(self, name: str) -> str:
        return str(self._runs.asked("status", "--json", "--only", name).report["run_id"])

    def _followed(self, application: Application) -> None:
        """Follow for a while, then be struck, or stopped once everything has arrived."""
        alone = len(self._names) > 1 and self._random.random() < AGAIN_SHARE
        names = [self._random.choice(self._names)] if alone else self._names
        process, log = self._runs.started("run", "--follow", *(("--only", *names) if alone else ()))
        blow = self._blow()
        struck = blow is not None and self._runs.struck(process, blow, FOLLOWED_S)
        if blow in (None, "pause"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self._random.uniform(*FOLLOWED_S))
            application.rest()
            self._arrived(process, names)
            application.wake()
            struck, blow = True, "sigterm"
            process.terminate()
        self._runs.judge(self._runs.ended(process, log), blow if struck else None)

    def _arrived(self, process: "subprocess.Popen[str]", names: Sequence[str]) -> None:
        """With the application at rest: wait until a follower of these jobs has brought everything."""
        expected = self._of(names, self._living.expected())
        deadline, before = time.monotonic() + ARRIVE_S, dict[str, Item]()
        while process.poll() is None:
            found = self._of(names, loads.items(self._stub.endpoint, TABLE))
            differences = self._differences(expected, found)
            if not differences:
                return
            if found != before:
                deadline, before = time.monotonic() + ARRIVE_S, found
            if time.monotonic() > deadline:
                self.outcome.failed(f"a follower gets no further for {ARRIVE_S:g} s: {differences[0]}")
                return
            time.sleep(1.0)

    def _of(self, names: Sequence[str], items: Mapping[str, Item]) -> dict[str, Item]:
        """Return the items of some jobs."""
        return {key: item for key, item in items.items() if self._living.job_of(key) in names}

    def _drained(self, when: str) -> None:
        """With the application at rest: read all that there is, then compare."""
        end = self._living.now()
        self._runs.complete()  # one that was struck is gone on with: it ends where it was to end
        self._runs.complete()
        expected, found = self._living.expected(), loads.items(self._stub.endpoint, TABLE)
        self.outcome.items = len(expected)
        self.outcome.failures += [f"{when}: {each}" for each in self._differences(expected, found)]
        if end is not None and (confirmed := self._living.confirmed()) < end:
            self.outcome.failed(f"{when}: the log is kept from {confirmed} on, and all up to {end} was read")

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
            *(checks.two_runners(each) for each in self._by_job(entries)),
            checks.going_back(entries),
        ):
            self.outcome.failures += found
        verified = self._runs.asked("verify", "--full", "--json")
        if verified.code != 0 or verified.report["consistency_percent"] != 100:
            self.outcome.failed(
                f"verify ends with {verified.code}: {verified.stdout[:600]} {verified.stderr[-600:]}"
            )
        let_go = self._runs.asked("log drop")
        if let_go.code != 0 or self._living.kept():
            left = f"{self._living.kept()} are left"
            self.outcome.failed(f"log drop ends with {let_go.code}, {left}: {let_go.stderr}")

    def _by_job(self, entries: Sequence[Entry]) -> Iterable[Sequence[Entry]]:
        """Yield the requests of each job: one has a runner of its own, beside those of others."""
        for name in self._names:
            yield [entry for entry in entries if self._living.job_of(entry.writes[0].key) == name]


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
