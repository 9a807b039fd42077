"""`backfill plan` at size: time and memory of a sample and of `--full`, without and with collisions.

The command is run whole, as a user runs it; time and peak memory are the kernel's account of that process.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from bench import orders, servers
from engine.environment import module_command

SAMPLE_S_MAX = 30.0
FULL_RSS_MB_MAX = 500.0


def measure(job: dict[str, Any], folder: Path, *options: str) -> tuple[float, float, dict[str, Any]]:
    """Plan once; return seconds, MB at the peak, and the plan."""
    job_file = folder / "job.yaml"
    job_file.write_text(yaml.safe_dump(job, sort_keys=False), encoding="utf-8")
    with (folder / "plan.json").open("w+b") as plan_file:
        began = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - our own command line
            module_command("engine", "plan", str(job_file), "--json", *options),
            env={**os.environ, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"},
            stdout=plan_file,
            stderr=subprocess.DEVNULL,
        )
        _, _, used = os.wait4(process.pid, 0)
        elapsed = time.perf_counter() - began
        process.returncode = 0  # it has been waited for
        plan_file.seek(0)
        plan = json.loads(plan_file.read())
    return elapsed, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6, plan


def cases(job: dict[str, Any]) -> Sequence[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """Return what is measured: a name, a job and options."""
    (rule,) = job["items"]
    colliding = {**rule, "key": {"PK": "USER#{user_id}", "SK": "{status}#{items_count}#{total_amount}"}}
    return [
        ("sample", job, ()),
        ("--full, no collisions", job, ("--full",)),
        ("--full, most keys repeat", {**job, "items": [colliding]}, ("--full",)),
    ]


def main() -> None:
    """Fill a table, plan its load, and print a line a case beside the goals."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="backfill-bench-plan-") as place:
        folder = Path(place)
        folder.chmod(0o755)
        with servers.embedded_postgres(folder / "data") as source, servers.dynoxide() as endpoint:
            asyncio.run(orders.fill(source, rows))
            job = orders.job(source, endpoint)
            job["target"]["create"] = {}
            for name, planned, options in cases(job):
                elapsed, rss_mb, plan = measure(planned, folder, *options)
                print(
                    f"{rows:>11,} rows  {name:26} {elapsed:7.1f} s  {rss_mb:5.0f} MB"
                    f"  {plan['collisions']['lost']:,} items overwritten",
                    flush=True,
                )
    print(f"goals: a sample in {SAMPLE_S_MAX:.0f} s, --full in {FULL_RSS_MB_MAX:.0f} MB, at 10,000,000 rows")


if __name__ == "__main__":
    main()
