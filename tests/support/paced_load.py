"""A load that takes its time, to be broken in the middle, and what must come of it."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import servers
from tests.support import loads, wire_scan
from tests.support.command import Command, Ended, kill_group

ROWS = 3_000
PACE_WCU = 50
"""At a unit a row a run would take a minute: it is never done before a busy machine has broken it."""
GOES_ON_WCU = 250
"""For what is broken and goes on to its end by itself: twelve seconds, of which the first few are enough."""
BAD_EVERY = 250
END_S = 200.0
TABLE = (
    "CREATE TABLE t (id int PRIMARY KEY, v text, k text NOT NULL)",
    f"INSERT INTO t SELECT n, repeat(md5(n::text), 10), CASE WHEN n % {BAD_EVERY} = 0 THEN '' ELSE 'k' END"
    f" FROM generate_series(1, {ROWS}) n",
    "ANALYZE t",
)


@dataclass
class Load:
    """A paced load in a process of its own, which is broken in the middle."""

    command: Command

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        process = self.command.start("run", "--json", *arguments, log=self.log)
        try:
            self.wait(process, lambda: self.status().get("items_written", 0) > 0)
        except BaseException:
            kill_group(process)
            raise
        return process

    @property
    def log(self) -> Path:
        return self.command.folder / "stderr.txt"

    def wait_said(self, process: "subprocess.Popen[str]", text: str) -> None:
        """Wait until the run has said something on stderr."""
        self.wait(process, lambda: text in self.log.read_text())

    def status(self) -> dict[str, Any]:
        return self.command.here("status", "--json").report

    @staticmethod
    def wait(process: "subprocess.Popen[str]", happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + END_S
        while not happened():
            assert process.poll() is None, process.returncode
            assert time.monotonic() < deadline, "it took too long"
            time.sleep(0.05)

    def end(self, process: "subprocess.Popen[str]") -> Ended:
        try:
            stdout, _ = process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            kill_group(process)
            raise
        return Ended(process.returncode, stdout, self.log.read_text())

    def resume(self) -> Ended:
        """Run again, at full speed; wait for what a killed run has left to end by itself."""
        self.command.job["target"].pop("max_wcu", None)
        deadline = time.monotonic() + 120
        while True:
            ended = self.command.here("run", "--json", "--workers", "1")
            if "already being run" not in ended.stderr or time.monotonic() > deadline:
                return ended
            time.sleep(0.2)

    def assert_whole(self, ended: Ended, *, resumed: bool) -> None:
        """The target holds every row once, the dead letters are whole, the counts balance."""
        assert ended.code == 3, ended.stderr
        assert "Traceback" not in ended.stderr
        report = ended.report
        assert report["resumed"] is resumed
        dead = ROWS // BAD_EVERY
        assert (report["rows_read"], report["items_emitted"]) == (ROWS, ROWS)
        assert (report["items_written"], report["items_dead_lettered"]) == (ROWS - dead, dead)
        loads.assert_balanced(report)
        target = self.command.job["target"]
        items = wire_scan.scan(target["endpoint_url"], target["table"])
        found = {int(item["id"]["N"]) for item in items.values()}
        assert found == {n for n in range(1, ROWS + 1) if n % BAD_EVERY}
        letters = [int(letter["source_key"]["id"]) for letter in self.command.dead_letters()]
        assert sorted(letters) == list(range(BAD_EVERY, ROWS + 1, BAD_EVERY))


def load_of(folder: Path, url: str, endpoint: str, table: str, **target: Any) -> Load:
    """Make the table and the job; what breaks such a load resumes it, or gives it `GOES_ON_WCU`."""
    loads.create_table(endpoint, table)
    rule = {"name": "Row", "key": {"PK": "ROW#{id}", "SK": "{k}"}, "include": ["id", "v"]}
    job = loads.job(
        url,
        endpoint,
        table,
        source={"batch_rows": 200, "segments": 4},
        target={"max_wcu": PACE_WCU, **target},
        items=[rule],
    )
    return Load(Command(folder, job))


class OwnTarget:
    """A Dynoxide that keeps its tables in a file, to be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "dynoxide.db"
        self._port = servers.free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        binary = servers.dynoxide_binary()
        command = [str(binary), "serve", "--port", str(self._port), "--db-path", str(self._file)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        servers._wait_for_port(self._process, self._port, "dynoxide")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
