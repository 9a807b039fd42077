"""`backfill demo`: a whole migration on this machine, checked item by item by a client of its own.

Invariant: what it says at the end is what a scan with boto3 found, not what the engine reported.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import click
from boto3.dynamodb.conditions import Key

from bench import readback, servers, shop
from engine.errors import PermanentError

ORDERS = 100_000
TABLE = "shop"
JOBS = ("users", "products", "orders")
DIFFERENT = 4
"""The contract's exit code for differences found."""


def run(*, as_json: bool, orders: int = ORDERS) -> int:
    """Load the shop, look some of it up, compare all of it, and return the exit code."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="backfill-demo-") as folder:
        home = Path(folder)
        home.chmod(0o755)  # the embedded PostgreSQL runs as a user of its own where we are root
        _say("starting the embedded PostgreSQL and Dynoxide, a local DynamoDB")
        with servers.embedded_postgres(home / "postgres") as source, servers.dynoxide() as endpoint:
            return _rehearse(home, source, endpoint, orders, as_json=as_json, began=began)


def _rehearse(home: Path, source: str, endpoint: str, orders: int, *, as_json: bool, began: float) -> int:
    _say(f"filling the shop: {orders:,} orders with their lines, users, products")
    asyncio.run(shop.fill(source, orders))
    job_file = home / "shop.yaml"
    job_file.write_text(resources.files("bench").joinpath("shop.yaml").read_text(encoding="utf-8"), "utf-8")
    environment = {
        **os.environ,
        "SOURCE_URL": source,
        "DYNAMODB_ENDPOINT": endpoint,
        "SHOP_TABLE": TABLE,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    _backfill(home, environment, "table", "create", job_file.name)
    reports = json.loads(_backfill(home, environment, "run", job_file.name, "--json"))["jobs"]
    _show_orders_of_a_user(endpoint)
    _say("reading everything back with boto3 and comparing it with a mapping in plain Python")
    found = readback.scan(endpoint, TABLE)
    comparison = asyncio.run(readback.compare(shop.expected_items(source), found, ("PK", "SK")))
    if as_json:
        click.echo(json.dumps({"jobs": reports, "comparison": _as_json(comparison)}, indent=2))
    else:
        for report in reports:
            click.echo(_line(report))
        click.echo(_verdict(comparison))
        click.echo(f"The whole demo took {time.monotonic() - began:.0f} s.")
    return 0 if comparison.equal else DIFFERENT


def _say(text: str) -> None:
    click.echo(f"demo: {text}", err=True)


def _backfill(home: Path, environment: Mapping[str, str], *arguments: str) -> str:
    """Run a command as a user would, its progress on our stderr; return what it printed."""
    click.echo(f"demo: $ backfill {' '.join(arguments)}", err=True)
    done = subprocess.run(  # noqa: S603 - our own command line
        [sys.executable, "-m", "engine", *arguments],
        cwd=home,
        env=dict(environment),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PermanentError(
            f"`backfill {' '.join(arguments)}` ended with code {done.returncode}; its message stands above"
        )
    return done.stdout


def _show_orders_of_a_user(endpoint: str) -> None:
    """Ask for what the table was designed for: the orders of one user, newest first."""
    user = "USER#42"
    answer = (
        readback.client(endpoint)
        .Table(TABLE)
        .query(
            KeyConditionExpression=Key("PK").eq(user) & Key("SK").begins_with("ORDER#"),
            ScanIndexForward=False,
        )
    )
    _say(f"the access pattern: Query PK = {user}, SK begins with ORDER#, newest first")
    for item in answer["Items"][:3]:
        lines = ", ".join(f"{line['quantity']} x {line['product_name']}" for line in item["Items"])
        click.echo(f"      {item['SK']:28} {item['Status']:10} {item['TotalAmount']:>8}  {lines}", err=True)
    click.echo(f"      ({len(answer['Items'])} orders in one request)", err=True)


def _line(report: Mapping[str, Any]) -> str:
    return (
        f"{report['job']:9} {report['outcome']}: {report['rows_read']:>7,} rows read,"
        f" {report['items_written']:>7,} items written, {report['items_dead_lettered']} dead letters,"
        f" {report['elapsed_s']:.1f} s, {report['cpu_us_per_item'] or 0:.1f} µs of CPU per item"
    )


def _verdict(comparison: readback.Comparison) -> str:
    if comparison.equal:
        return f"All {comparison.checked:,} items are there and equal, value by value, and no other."
    found = (
        f"{comparison.matched:,} of {comparison.checked:,} items match; {comparison.missing:,} missing,"
        f" {comparison.mismatched:,} differ, {comparison.extra:,} extra:"
    )
    return "\n  ".join([found, *comparison.differences])


def _as_json(comparison: readback.Comparison) -> dict[str, Any]:
    names = ("checked", "matched", "missing", "mismatched", "extra", "differences")
    return {name: getattr(comparison, name) for name in names}
