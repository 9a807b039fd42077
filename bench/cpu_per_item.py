"""`make bench`: the engine's CPU per item and peak memory, from PostgreSQL to a null target.

The command is run whole, as a user runs it, in one process; CPU (user and system) and peak memory are the
kernel's own account of that process. Start-up is part of it.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml

from bench import orders, servers

CPU_US_PER_ITEM_MAX = 10.0
"""The goal that the project has set itself for one process."""

PEAK_RSS_MB_MAX = 400.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One run. Units: microseconds of CPU per item, MB of 10^6 bytes, items per second of wall time."""

    rows: int
    cpu_us_per_item: float
    peak_rss_mb: float
    items_per_s: float


def measure(source: str, endpoint: str, rows: int) -> Sample:
    """Run the command once over the whole table and take the kernel's account of it."""
    with tempfile.TemporaryDirectory(prefix="backfill-bench-") as folder:
        job_file = Path(folder) / "job.yaml"
        job_file.write_text(yaml.safe_dump(orders.job(source, endpoint), sort_keys=False), encoding="utf-8")
        with (Path(folder) / "report.json").open("w+b") as report_file:
            began = time.perf_counter()
            process = subprocess.Popen(  # noqa: S603 - our own command line
                [sys.executable, "-m", "engine", "run", str(job_file), "--workers", "1", "--json"],
                cwd=folder,
                env={**os.environ, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"},
                stdout=report_file,
                stderr=subprocess.DEVNULL,
            )
            _, status, used = os.wait4(process.pid, 0)
            elapsed = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            report_file.seek(0)
            report = json.loads(report_file.read() or b"{}")
    if process.returncode != 0 or report.get("items_written") != rows:
        raise SystemExit(f"the run ended with code {process.returncode}: {report.get('error')}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Sample(
        rows=rows,
        cpu_us_per_item=(used.ru_utime + used.ru_stime) / rows * 1e6,
        peak_rss_mb=used.ru_maxrss * unit / 1e6,
        items_per_s=rows / elapsed,
    )


def median(samples: Sequence[Sample]) -> Sample:
    """Return the median of each figure."""
    return Sample(
        samples[0].rows,
        statistics.median(sample.cpu_us_per_item for sample in samples),
        statistics.median(sample.peak_rss_mb for sample in samples),
        statistics.median(sample.items_per_s for sample in samples),
    )


def main() -> None:
    """Measure each size several times and print a line a run and the medians beside the goals."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000], help="table sizes")
    parser.add_argument("--runs", type=int, default=5, help="runs of each size")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()
    results = []
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory(prefix="backfill-bench-pg-") as folder:
            Path(folder).chmod(0o755)
            with servers.embedded_postgres(Path(folder) / "data") as source:
                asyncio.run(orders.fill(source, rows))
                samples = []
                for _ in range(arguments.runs):
                    with servers.null_target() as endpoint:
                        samples.append(measure(source, endpoint, rows))
                    _print(samples[-1])
        middle = median(samples)
        results.append({"median": asdict(middle), "runs": [asdict(sample) for sample in samples]})
        _print(middle, "  median of each")
    print(
        f"goals: at most {CPU_US_PER_ITEM_MAX:.0f} µs of CPU per item and {PEAK_RSS_MB_MAX:.0f} MB,"
        f" in one process, at any size ({platform.machine()}, Python {platform.python_version()})"
    )
    if arguments.json:
        about = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "results": results}
        arguments.json.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _print(sample: Sample, note: str = "") -> None:
    print(
        f"{sample.rows:>10,} rows  {sample.cpu_us_per_item:6.2f} µs CPU/item  {sample.peak_rss_mb:6.0f} MB"
        f"  {sample.items_per_s:>9,.0f} items/s{note}",
        flush=True,
    )


if __name__ == "__main__":
    main()
