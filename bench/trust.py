"""What trusting a load costs: everything verified, planted damage found and mended, plans held against facts.

Invariant: the command is run whole, as a user runs it; what is damaged is damaged by boto3, which shares
nothing with the engine.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from bench import compare, orders, readback, servers
from bench.trust_plan import at_size, held_against_facts
from engine.environment import module_command
from engine.errors import JobError, PermanentError

EQUAL, DIFFERENT = 0, 4
"""Exit codes of verify."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that has ended, and the kernel's account of it. Units: seconds, MB of 10^6 bytes."""

    code: int
    report: Mapping[str, Any]
    cpu_s: float
    peak_rss_mb: float
    elapsed_s: float


def run(server: str, sizes: compare.Sizes, tell: compare.Tell) -> dict[str, Any]:
    """Measure verify and plan; return what came of each."""
    with _target(tell) as (name, endpoint):
        found: dict[str, Any] = {"target": name}
        with compare.table_of(server, sizes.trust_rows) as source, tempfile.TemporaryDirectory() as folder:
            job = orders.job(source, endpoint)
            job["target"]["create"] = {"partition_key": "PK", "sort_key": "SK"}
            found["verify"] = _verified(Path(folder), job, endpoint, sizes.trust_rows, tell)
        found["plan"] = held_against_facts(server, endpoint, command, tell)
        found["plan_at_size"] = at_size(server, endpoint, sizes.plan_rows, tell)
    return found


def command(folder: Path, job: Mapping[str, Any], *arguments: str) -> Ran:
    """Run `backfill COMMAND job.yaml …` to its end, with `--json` where it has a report."""
    job_file = folder / "job.yaml"
    job_file.write_text(yaml.safe_dump(job, sort_keys=False), encoding="utf-8")
    words = [*arguments[0].split(), str(job_file), *arguments[1:]]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as complaint:
        began = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - our own command line
            module_command("engine", *words),
            cwd=folder,
            env={**os.environ, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"},
            stdout=output,
            stderr=complaint,
        )
        _, status, used = os.wait4(process.pid, 0)
        elapsed = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (EQUAL, DIFFERENT):
            complaint.seek(0)
            said = complaint.read().decode(errors="replace").strip().splitlines()[-1:]
            raise PermanentError(f"{arguments[0]} ended with {process.returncode}: {''.join(said)}")
        output.seek(0)
        text = output.read()
    unit = 1 if sys.platform == "darwin" else 1024
    return Ran(
        code=process.returncode,
        report=json.loads(text) if text.startswith(b"{") else {},
        cpu_s=used.ru_utime + used.ru_stime,
        peak_rss_mb=used.ru_maxrss * unit / 1e6,
        elapsed_s=elapsed,
    )


@contextmanager
def _target(tell: compare.Tell) -> Iterator[tuple[str, str]]:
    """Give the name and the endpoint of Dynoxide, or of the simulator where Dynoxide can't be had."""
    try:
        servers.dynoxide_binary()
    except JobError as error:
        tell(f"the simulator is the target: {error}")
        with servers.simulator("--unlimited") as endpoint:
            yield "simulator", endpoint
    else:
        with servers.dynoxide() as endpoint:
            yield "Dynoxide", endpoint


def _verified(
    folder: Path, job: Mapping[str, Any], endpoint: str, rows: int, tell: compare.Tell
) -> dict[str, Any]:
    """Load, verify, damage, verify and repair, verify; return the figures of each step."""
    command(folder, job, "table create")
    command(folder, job, "run", "--json", "--workers", "1")
    verify = ("verify", "--full", "--read", "scan", "--json", "--workers", "1")

    clean = command(folder, job, *verify)
    if clean.report["matched"] != rows:
        raise PermanentError(
            f"verify matched {clean.report['matched']} of {rows} items that were just written"
        )
    cost = clean.cpu_s / rows * 1e6
    tell(f"verify --full: {cost:.1f} µs CPU/item, {clean.peak_rss_mb:.0f} MB, {clean.elapsed_s:.0f} s")

    planted = _damage(endpoint, rows)
    mended = command(folder, job, *verify, "--repair", "--delete-extra")
    told = {(each["kind"], each["key"]["SK"]["S"]) for each in mended.report["differences"]}
    tell(f"planted damage: {len(told & planted)} of {len(planted)} found, {len(told - planted)} others told")

    after = command(folder, job, *verify)
    left = sum(after.report[kind] for kind in ("mismatched", "missing", "extra"))
    tell(f"after the repair: {left} differences, {after.report['consistency_percent']} %")
    return {
        "items": rows,
        "cpu_us_per_item": round(cost, 2),
        "peak_rss_mb": round(clean.peak_rss_mb, 1),
        "elapsed_s": round(clean.elapsed_s, 1),
        "planted": len(planted),
        "found": len(told & planted),
        "told_wrongly": len(told - planted),
        "repaired": mended.report["repaired"] + mended.report["deleted"],
        "left": left + (mended.code != EQUAL) + (after.code != EQUAL),
        "consistency_percent": after.report["consistency_percent"],
        "cpu_us_per_item_repairing": round(mended.cpu_s / rows * 1e6, 2),
    }


def _damage(endpoint: str, rows: int) -> set[tuple[str, str]]:
    """Flip a byte, delete an item, add one, and write a number in another form, which is no damage.

    Returns what is to be found: kind and sort key.
    """
    table = readback.client(endpoint).Table(orders.TABLE)
    flipped, gone, other_form = (_item(table, rows * share // 7) for share in (2, 3, 5))
    email = flipped["Email"]
    table.put_item(Item={**flipped, "Email": email[:-1] + chr(ord(email[-1]) ^ 1)})
    table.delete_item(Key={name: gone[name] for name in ("PK", "SK")})
    extra = {**gone, "SK": f"ORDER#2024-01-01#{rows + 1}"}
    table.put_item(Item=extra)
    # boto3 writes a Decimal as it prints it: 7.5 as 7.50.
    number = other_form["TotalAmount"].quantize(Decimal("1.0000"))
    table.put_item(Item={**other_form, "TotalAmount": number})
    return {("mismatched", flipped["SK"]), ("missing", gone["SK"]), ("extra", extra["SK"])}


def _item(table: Any, order: int) -> dict[str, Any]:
    """Return the item of an order."""
    from boto3.dynamodb.conditions import Key

    user = f"USER#{1 + order * 7919 % 50000}"
    found = table.query(KeyConditionExpression=Key("PK").eq(user), ConsistentRead=True)["Items"]
    item: dict[str, Any] = next(item for item in found if item["OrderID"] == order)
    return item
