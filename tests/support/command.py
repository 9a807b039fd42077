"""Run the command as a user does: in a process of its own, with a job file and a state folder."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from engine.cli.options import Invocation
from engine.cli.program import answer


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def report(self) -> dict[str, Any]:
        return json.loads(self.stdout)


@dataclass(frozen=True, slots=True)
class Command:
    """One job in one folder."""

    folder: Path
    job: dict[str, Any]

    def write_job(self) -> Path:
        """Write the job file; whoever reads it at this moment finds it whole."""
        path = self.folder / "job.yaml"
        new = path.with_suffix(".new")
        new.write_text(yaml.safe_dump(self.job, sort_keys=False), encoding="utf-8")
        return new.replace(path)

    def start(
        self, *arguments: str, log: Path | None = None, env: Mapping[str, str] = {}
    ) -> "subprocess.Popen[str]":
        """Start `backfill COMMAND job.yaml …` in a session of its own, so that it can be killed whole.

        With a `log` stderr goes there, to be read while the command runs.
        """
        path = self.write_job()
        command, *others = arguments
        with contextlib.nullcontext(subprocess.PIPE) if log is None else log.open("wb") as stderr:
            return subprocess.Popen(
                [sys.executable, "-m", "engine", *command.split(), path.name, *others],
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
                env={**os.environ, "PYTHONWARNINGS": "ignore", **env},
            )

    def run(self, *arguments: str, timeout_s: float = 240) -> Ended:
        """Run a command to its end."""
        process = self.start(*arguments)
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            kill_group(process)
            raise
        return Ended(process.returncode, stdout, stderr)

    def here(self, *arguments: str) -> Ended:
        """Run a command inside this process: the same from argv to exit code, without a second of imports.

        State, reports and dead letters are where `run` would put them.
        """
        path = self.write_job()
        command, *others = arguments
        state = [] if command in ("table create", "log drop") else ["--state", str(self.state)]
        stdout, stderr = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            code = answer([*command.split(), str(path), *state, *others], Invocation())
        return Ended(code, stdout.getvalue(), stderr.getvalue())

    @property
    def state(self) -> Path:
        return self.folder / ".backfill"

    def dead_letters(self) -> list[dict[str, Any]]:
        path = self.state / self.job["name"] / "dead-letters.jsonl"
        # Not splitlines(): a value may hold U+2028, which ends no line of JSON.
        return [json.loads(line) for line in path.read_text().split("\n") if line] if path.exists() else []


def kill_group(process: "subprocess.Popen[str]") -> None:
    """SIGKILL the command and its workers."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
