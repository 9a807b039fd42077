"""One measured run of a command: CPU and peak memory are the kernel's own account of its processes.

Invariant: a run whose items didn't all reach the null target is a fault, never a figure. What runs is there
as bytecode, as what pip has installed is: a checkout is compiled at every start where Python may not write
beside it.
"""

import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from bench import contenders, orders, servers
from engine.environment import module_command
from engine.errors import PermanentError


@dataclass(frozen=True, slots=True)
class RunSample:
    """One run. Units: microseconds of CPU per item, MB of 10^6 bytes at the peak, items per second.

    `peak_rss_mb` is that of one process; with several workers they are not added up.
    """

    rows: int
    cpu_us_per_item: float
    peak_rss_mb: float
    items_per_s: float
    requests: int
    body_bytes_per_item: float


@dataclass(frozen=True, slots=True)
class _Used:
    cpu_s: float
    peak_rss_bytes: int
    elapsed_s: float
    output: str


def engine(source: str, rows: int, *, workers: int | None = 1, settings: Mapping[str, str] = {}) -> RunSample:
    """Run `backfill run` over the whole table, start-up and all, and return what it took."""
    return load(partial(orders.job, source), rows, workers=workers, settings=settings)


def load(
    job_for: Callable[[str], Mapping[str, Any]],
    items: int,
    *,
    workers: int | None = 1,
    settings: Mapping[str, str] = {},
    program: str = sys.executable,
    target: Callable[[], AbstractContextManager[str]] = servers.null_target,
) -> RunSample:
    """Run `backfill run` of a job that gives so many items; `job_for` takes the target's endpoint.

    `program`: the interpreter of the environment whose engine runs. `target` is a null target. Without
    `workers` the engine chooses how many there are.
    """
    _compile(program)
    with tempfile.TemporaryDirectory(prefix="backfill-bench-") as folder, target() as endpoint:
        job_file = Path(folder) / "job.yaml"
        job_file.write_text(yaml.safe_dump(job_for(endpoint), sort_keys=False), encoding="utf-8")
        chosen = () if workers is None else ("--workers", str(workers))
        command = module_command("engine", "run", str(job_file), "--json", *chosen, python=program)
        environment = {**os.environ, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
        used = _run(command, {**environment, **settings}, folder)
        report = json.loads(used.output)
        if report["items_written"] != items:
            raise PermanentError(f"the engine wrote {report['items_written']} of {items} items")
        # The kernel's account has the workers, too, whom the runner has waited for.
        return _sample(endpoint, items, used, used.cpu_s, start_s=0.0)


def peer(who: contenders.Peer, source: str, rows: int) -> RunSample:
    """Run a peer over so many rows. The start-up of one that isn't whole isn't counted."""
    if who.is_whole:
        return whole(who, who.command(rows), source, rows)
    with servers.null_target() as endpoint, tempfile.TemporaryDirectory() as folder:
        used = _run(who.command(rows), contenders.environment(who, source, endpoint), folder)
        began = json.loads(used.output.splitlines()[0])
        return _sample(
            endpoint, rows, used, used.cpu_s - began["startup_cpu_s"], start_s=began["startup_cpu_s"]
        )


def whole(who: contenders.Peer, command: Sequence[str], source: str, rows: int) -> RunSample:
    """Run a peer's command that loads so many rows, its start-up and all."""
    with servers.null_target() as endpoint, tempfile.TemporaryDirectory() as folder:
        used = _run(command, contenders.environment(who, source, endpoint), folder)
        return _sample(endpoint, rows, used, used.cpu_s, start_s=0.0)


@dataclass(frozen=True, slots=True)
class StartSample:
    """What a run of no rows took, and a process that imports the same modules. Units: seconds of CPU, MB."""

    run_cpu_s: float
    imports_cpu_s: float
    peak_rss_mb: float


def start(job_for: Callable[[str], Mapping[str, Any]]) -> StartSample:
    """Run a job that has no rows, with default options, and import by itself what it has imported."""
    _compile(sys.executable)
    with tempfile.TemporaryDirectory(prefix="backfill-bench-") as folder, servers.null_target() as endpoint:
        job_file = Path(folder) / "job.yaml"
        job_file.write_text(yaml.safe_dump(job_for(endpoint), sort_keys=False), encoding="utf-8")
        command = module_command("engine", "run", str(job_file), "--fresh")
        keys = {**os.environ, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
        timed = {**keys, "PYTHONPROFILEIMPORTTIME": "1"}
        told = subprocess.run(  # noqa: S603 - a fixed command line
            command, cwd=folder, env=timed, capture_output=True, text=True, check=True
        )
        lines = [line for line in told.stderr.splitlines() if line.startswith("import time:")]
        names = [line.rpartition("|")[2].strip() for line in lines]
        run = _run(command, keys, folder)
        imports = _run([sys.executable, "-P", "-c", _IMPORTS, *names[1:]], keys, folder)
        return StartSample(run.cpu_s, imports.cpu_s, run.peak_rss_bytes / 1e6)


_IMPORTS = """
import contextlib, importlib, sys
from engine.environment import tune
tune()
for name in sys.argv[1:]:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
"""


@lru_cache
def _compile(program: str) -> None:
    """Compile the engine as pip does when it installs it."""
    compiled = "import compileall, connectors, engine\nfor package in (engine, connectors):"
    compiled += " compileall.compile_dir(package.__path__[0], quiet=2)"
    subprocess.run([program, "-P", "-c", compiled], check=True)  # noqa: S603 - a fixed command line


def middle(samples: Sequence[RunSample]) -> RunSample:
    """Return the median of each figure."""
    return RunSample(
        rows=samples[0].rows,
        cpu_us_per_item=median(sample.cpu_us_per_item for sample in samples),
        peak_rss_mb=median(sample.peak_rss_mb for sample in samples),
        items_per_s=median(sample.items_per_s for sample in samples),
        requests=round(median(sample.requests for sample in samples)),
        body_bytes_per_item=median(sample.body_bytes_per_item for sample in samples),
    )


def _sample(endpoint: str, rows: int, used: _Used, cpu_s: float, start_s: float) -> RunSample:
    trusted = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE"))
    asked = f"{endpoint}/counts"
    with urllib.request.urlopen(asked, timeout=10, context=trusted) as answer:  # noqa: S310 - our own server
        counts = json.load(answer)
    if counts["items"] != rows:
        raise PermanentError(f"{counts['items']} of {rows} items reached the null target")
    return RunSample(
        rows=rows,
        cpu_us_per_item=cpu_s / rows * 1e6,
        peak_rss_mb=used.peak_rss_bytes / 1e6,
        items_per_s=rows / (used.elapsed_s - start_s),
        requests=counts["requests"],
        body_bytes_per_item=counts["bytes"] / rows,
    )


def _run(command: Sequence[str], environment: Mapping[str, str], folder: str) -> _Used:
    """Run a command to its end. Raises: PermanentError with the last line of its complaint."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as complaint:
        began = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - a fixed command line
            command, cwd=folder, env=dict(environment), stdout=output, stderr=complaint
        )
        _, status, used = os.wait4(process.pid, 0)
        elapsed = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        complaint.seek(0)
        if process.returncode != 0:
            last = complaint.read().decode(errors="replace").strip().splitlines()[-1:]
            raise PermanentError(f"{Path(command[0]).name} ended with {process.returncode}: {''.join(last)}")
        output.seek(0)
        unit = 1 if sys.platform == "darwin" else 1024
        return _Used(used.ru_utime + used.ru_stime, used.ru_maxrss * unit, elapsed, output.read().decode())
