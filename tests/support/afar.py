"""A command that listens, and workers that dial in to it: each a process, as on hosts of their own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench import servers
from bench.servers import free_port
from tests.support import wire_scan
from tests.support.command import Command, Ended

TOKEN = "a token of some length"

PROGRAM = (
    "import sys; from engine.run import beats; beats.SILENCE_S, beats.MARGIN_S = {silence_s}, {margin_s};"
    " beats.VIEW_KEPT_S = {view_kept_s}; {first}; from engine.cli import main; main(sys.argv[1:])"
)
IMPATIENT = "from engine.commands.run import waiting; waiting.TOLD_EVERY_S, waiting.NOBODY_S = 0.02, 2.0"
HELD_BACK = (
    "import pathlib, time, connectors.dynamodb.target, connectors.postgres.source;"
    " import engine.commands.run.dialling;"
    " any(iter(lambda: pathlib.Path('go').exists() or time.sleep(0.01), True))"
)
"""One that has imported all when it may dial in: once there is a file `go` in its folder."""
SOON = "from engine.commands.run import dialling; dialling.REDIAL_S = 0.1"
OTHER_VERSION = "from engine.run import greeting; greeting.__version__ = '0.0.1'"


def job(endpoint: str, table: str, **target: Any) -> dict[str, Any]:
    """A job whose URL is another one on each host."""
    return {
        "name": "events",
        "source": {
            "type": "postgres",
            "url": "${SOURCE_URL}",
            "table": "events",
            "batch_rows": 250,
            "segments": 12,
        },
        "target": {
            "type": "dynamodb",
            "table": table,
            "endpoint_url": endpoint,
            "region": "us-east-1",
            "create": {"billing": "on_demand"},
            **target,
        },
        "items": [{"name": "Row", "key": {"PK": "EVENT#{id}", "SK": "ROW"}, "include": "all"}],
    }


@contextlib.contextmanager
def events(server: str, rows: int) -> Iterator[str]:
    """Give a database with one table of so many rows."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    servers.execute(server, f"CREATE DATABASE {name}")
    url = servers.database_url(server, name)
    for statement in (
        "CREATE TABLE events (id bigint PRIMARY KEY, body text)",
        f"INSERT INTO events SELECT g, repeat('x', (g % 50)::int) FROM generate_series(1, {rows}) g",
        "ANALYZE events",
    ):
        servers.execute(url, statement)
    yield url
    servers.execute(server, f"DROP DATABASE {name} WITH (FORCE)")


@dataclass
class Hosts:
    """One job in a folder, its runner's host; `url` is its source. Whatever is started here ends here."""

    folder: Path
    url: str
    job: dict[str, Any]
    silence_s: float = 10.0
    margin_s: float = 5.0
    view_kept_s: float = 0.0
    """How long whoever keeps the view does that for no runner."""
    port: int = field(default_factory=free_port)
    head: str = "127.0.0.1"
    """The address of the runner's host."""
    command: str = "run"
    """What is started that listens."""
    started: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def run(
        self, *arguments: str, on: str = "", first: str = "pass", inside: str | None = None, **env: str
    ) -> "subprocess.Popen[str]":
        """Start the runner, which listens; see run_alone."""
        listen = ("--listen", f"{self.head}:{self.port}")
        return self.run_alone(*listen, *arguments, on=on, first=first, inside=inside, **env)

    def run_alone(
        self, *arguments: str, on: str = "", first: str = "pass", inside: str | None = None, **env: str
    ) -> "subprocess.Popen[str]":
        """Start the runner, with `on` in a folder of another host; `first` is done before anything else.

        `inside`: the network namespace that is its host.
        """
        folder = self.folder / on
        folder.mkdir(exist_ok=True)
        (folder / "job.yaml").write_text(yaml.safe_dump(self.job, sort_keys=False))
        words = (self.command, "job.yaml", "--json", *arguments)
        return self._start(folder, env, *words, first=first, inside=inside)

    def worker(
        self,
        number: int,
        *arguments: str,
        port: int | None = None,
        first: str = "pass",
        inside: str | None = None,
        **env: str,
    ) -> "subprocess.Popen[str]":
        """Start a worker in a folder of its own; `first` and `inside` as for `run`."""
        folder = self.folder / f"host-{number}"
        folder.mkdir(exist_ok=True)
        words = ("worker", f"{self.head}:{port or self.port}", *arguments)
        return self._start(folder, env, *words, first=first, inside=inside)

    def create(self) -> None:
        """Make the table."""
        source = {**self.job["source"], "url": self.url}
        created = Command(self.folder, {**self.job, "source": source}).here("table create")
        assert created.code == 0, created.stderr

    def ended(self, process: "subprocess.Popen[str]", timeout_s: float = 120) -> Ended:
        """Wait for the end of one."""
        stdout, _ = process.communicate(timeout=timeout_s)
        return Ended(process.returncode, stdout, self.told(process))

    def told(self, process: "subprocess.Popen[str]") -> str:
        """Return what one has said so far."""
        return (self.folder / f"stderr-{self.started.index(process)}").read_text()

    def said(self, process: "subprocess.Popen[str]", text: str, times: int = 1) -> None:
        """Wait until one has said this so often."""
        until = time.monotonic() + 200
        while self.told(process).count(text) < times:
            assert process.poll() is None, f"it has ended without {text!r}: {self.told(process)}"
            assert time.monotonic() < until, self.told(process)
            time.sleep(0.05)

    def items(self) -> dict[tuple[str, ...], Any]:
        """Return what is in the table."""
        target = self.job["target"]
        return wire_scan.scan(target["endpoint_url"], target["table"])

    def _start(
        self, folder: Path, env: Mapping[str, str], *words: str, first: str, inside: str | None
    ) -> "subprocess.Popen[str]":
        program = PROGRAM.format(
            silence_s=self.silence_s, margin_s=self.margin_s, view_kept_s=self.view_kept_s, first=first
        )
        ours = {"PYTHONWARNINGS": "ignore", "SOURCE_URL": self.url, "BACKFILL_WORKER_TOKEN": TOKEN}
        host = () if inside is None else ("ip", "netns", "exec", inside)
        with (self.folder / f"stderr-{len(self.started)}").open("wb") as stderr:
            process = subprocess.Popen(
                [*host, sys.executable, "-c", program, *words],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
                env={**os.environ, **ours, **env},
            )
        self.started.append(process)
        return process


class Valve:
    """A TCP proxy to a port here that can stop passing on what one side says, and leaves connections open."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.to_head, self.from_head = threading.Event(), threading.Event()
        """Set: nothing more is passed on in this direction."""
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                worker, _ = self._listener.accept()
                head = socket.create_connection(("127.0.0.1", self._to))
                self._open += [worker, head]
                for pair in ((worker, head, self.to_head), (head, worker, self.from_head)):
                    threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, cut: threading.Event) -> None:
        with contextlib.suppress(OSError), source:
            while data := source.recv(65_536):
                if not cut.is_set():
                    sink.sendall(data)
            if not cut.is_set():
                sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End everything."""
        for each in self._open:
            each.close()


@contextlib.contextmanager
def hosts(folder: Path, url: str, made: dict[str, Any], **others: Any) -> Iterator[Hosts]:
    """Give hosts of which nothing is left behind."""
    scene = Hosts(folder, url, made, **others)
    try:
        yield scene
    finally:
        for process in scene.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
