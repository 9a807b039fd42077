"""No file that lies where a command is typed becomes code: not in it, not in a process that it starts."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import loads
from tests.support.command import Command
from tests.support.pg import execute

OTHERS = (
    "pickle",
    "sitecustomize",
    "usercustomize",
    "json",
    "multiprocessing",
    "uvloop",
    "polars",
    "httptools",
)
ABSENT = ("snappy", "awscrt")
OWN = ("engine/__init__", "connectors/__init__")
HIDDEN = (*OTHERS, *ABSENT, *OWN)
"""What is imported, what libraries look for in vain, and what is our own."""
PROGRAM = Path(sys.executable).with_name("backfill")


@pytest.fixture
def littered(tmp_path: Path) -> Path:
    """A folder full of modules that leave a mark when they are run."""
    for name in HIDDEN:
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        mark = tmp_path / f"ran-{name.replace('/', '-')}"
        path.write_text(f"open({str(mark)!r}, 'a').close()\nraise ImportError('another was meant')\n")
    return tmp_path


def ran(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("ran-*"))


def ended(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"}
    environment.pop("PYTHONSAFEPATH", None)
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_run_with_workers_runs_nothing_of_its_folder(
    littered: Path, postgres_url: str, dynoxide: str, table_name: str
) -> None:
    loads.create_table(dynoxide, table_name)
    rows = "CREATE TABLE t AS SELECT n AS id, 'v' || n AS v FROM generate_series(1, 300) n"
    asyncio.run(execute(postgres_url, rows, "ALTER TABLE t ADD PRIMARY KEY (id)"))
    job = Command(littered, loads.job(postgres_url, dynoxide, table_name, source={"segments": 4})).write_job()
    done = ended(littered, str(PROGRAM), "run", job.name, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "workers 2" in done.stderr
    assert ran(littered) == []


def test_nor_does_a_bench_with_its_processes(littered: Path, postgres_url: str) -> None:
    asyncio.run(execute(postgres_url, "CREATE TABLE t (id int)", "ALTER TABLE t ADD PRIMARY KEY (id)"))
    job = Command(littered, loads.job(postgres_url, "http://127.0.0.1:1", "table")).write_job()
    done = ended(littered, str(PROGRAM), "bench", job.name, "--rows", "1")
    assert done.returncode == 0, done.stderr
    assert ran(littered) == []


def test_nor_does_python_with_m(littered: Path) -> None:
    (littered / "engine" / "__init__.py").unlink()
    (littered / "engine").rmdir()
    done = ended(littered, sys.executable, "-m", "engine", "schema")
    assert done.returncode == 0, done.stderr
    # Before our first line Python itself has run what it runs.
    assert set(ran(littered)) <= {"ran-sitecustomize", "ran-usercustomize"}
