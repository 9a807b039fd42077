"""`backfill demo`: a whole migration on this machine, checked item by item by a client of its own.

Invariant: what it says at the end is what a scan with boto3 found, not what the engine reported.
"""

import asyncio
import json
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import click
from boto3.dynamodb.conditions import Key

from bench import mongod, readback, servers, shop, shop_mongodb
from engine.environment import module_command
from engine.errors import JobError, PermanentError
from engine.show import lines
from engine.show.console import tell

TABLE = "shop"
DIFFERENT = 4
"""The contract's exit code for differences found."""


PLACED = {"local": (), "ray": ("--runner", "ray", "--ray-address", "local", "--workers", "2")}
"""What `run` is told about where its processes are: with Ray on a cluster of its own, as on a real one."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What differs by source: its server, how it is filled, its jobs, what must come of it, a question asked.

    Shape: `asks` is a partition key, or what an index has as one, and what its sort keys begin with.
    """

    server: str
    start: Callable[[Path], AbstractContextManager[str]]
    fill: Callable[[str, int], Coroutine[Any, Any, None]]
    orders: int
    holds: str
    job_file: str
    expected: Callable[[str], AsyncIterator[Mapping[str, Any]]]
    asks: tuple[str | None, str, str]
    row: Callable[[Mapping[str, Any]], str]


def _postgres_order(item: Mapping[str, Any]) -> str:
    lines = ", ".join(f"{line['quantity']} x {line['product_name']}" for line in item["Items"])
    return f"{item['SK']:28} {item['Status']:10} {item['TotalAmount']:>8}  {lines}"


def _mongodb_order(item: Mapping[str, Any]) -> str:
    return f"{item['GSI1SK']:32} {item['status']:10} {item['total']:>8}  {item['PK']}"


REHEARSALS: Mapping[str, Rehearsal] = {
    "postgres": Rehearsal(
        server="the embedded PostgreSQL",
        start=servers.embedded_postgres,
        fill=shop.fill,
        orders=100_000,
        holds="orders with their lines, users, products",
        job_file="shop.yaml",
        expected=shop.expected_items,
        asks=(None, "USER#42", "ORDER#"),
        row=_postgres_order,
    ),
    "mongodb": Rehearsal(
        server="a MongoDB replica set of one",
        start=mongod.mongod,
        fill=shop_mongodb.fill,
        orders=20_000,  # each of them several items
        holds="orders with their lines inside, users with their addresses",
        job_file="shop_mongodb.yaml",
        expected=shop_mongodb.expected_items,
        asks=("GSI1", "USER#user42", "ORDER#"),
        row=_mongodb_order,
    ),
}


def run(*, as_json: bool, source: str = "postgres", orders: int | None = None, runner: str = "local") -> int:
    """Load the shop, look some of it up, compare all of it, and return the exit code."""
    rehearsal = REHEARSALS[source]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="backfill-demo-") as folder:
        home = Path(folder)
        home.chmod(0o755)  # the embedded PostgreSQL runs as a user of its own where we are root
        target, start_target = _local_dynamodb()
        _say(f"starting {rehearsal.server} and {target}")
        with rehearsal.start(home / "source") as url, start_target as endpoint:
            count = rehearsal.orders if orders is None else orders
            placed = PLACED[runner]
            return _rehearse(rehearsal, home, url, endpoint, count, placed, as_json=as_json, began=began)


def _local_dynamodb() -> tuple[str, AbstractContextManager[str]]:
    """Take Dynoxide, or the project's own simulator where npm can't bring it."""
    try:
        servers.dynoxide_binary()
    except JobError as reason:
        _say(f"{reason}; until then the simulator stands in for Dynoxide")
        return "the simulator", servers.simulator("--unlimited")
    return "Dynoxide, a local DynamoDB", servers.dynoxide()


def _rehearse(
    rehearsal: Rehearsal,
    home: Path,
    source: str,
    endpoint: str,
    orders: int,
    placed: Sequence[str],
    *,
    as_json: bool,
    began: float,
) -> int:
    _say(f"filling the shop: {orders:,} {rehearsal.holds}")
    asyncio.run(rehearsal.fill(source, orders))
    job_file = home / rehearsal.job_file
    text = resources.files("bench").joinpath(rehearsal.job_file).read_text(encoding="utf-8")
    job_file.write_text(text, "utf-8")
    environment = {
        **os.environ,
        "SOURCE_URL": source,
        "DYNAMODB_ENDPOINT": endpoint,
        "SHOP_TABLE": TABLE,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    _backfill(home, environment, "table", "create", job_file.name)
    reports = json.loads(_backfill(home, environment, "run", job_file.name, "--json", *placed))["jobs"]
    _show_orders_of_a_user(rehearsal, endpoint)
    _say("reading everything back with boto3 and comparing it with a mapping in plain Python")
    found = readback.scan(endpoint, TABLE)
    comparison = asyncio.run(readback.compare(rehearsal.expected(source), found, ("PK", "SK")))
    if as_json:
        click.echo(json.dumps({"jobs": reports, "comparison": _as_json(comparison)}, indent=2))
    else:
        for report in reports:
            tell(_line(report))
        tell(_verdict(comparison))
        tell(f"The whole demo took {time.monotonic() - began:.0f} s.")
    return 0 if comparison.equal else DIFFERENT


def _say(text: str) -> None:
    lines.tell(text, text=f"demo: {text}", event="demo")


def _backfill(home: Path, environment: Mapping[str, str], *arguments: str) -> str:
    """Run a command as a user would, its progress on our stderr; return what it printed."""
    _say(f"$ backfill {' '.join(arguments)}")
    done = subprocess.run(  # noqa: S603 - our own command line
        module_command("engine", *arguments, *lines.arguments()),
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


def _show_orders_of_a_user(rehearsal: Rehearsal, endpoint: str) -> None:
    """Ask for what the table was designed for: the orders of one user, newest first."""
    index, user, begins = rehearsal.asks
    partition, sort = ("PK", "SK") if index is None else (f"{index}PK", f"{index}SK")
    request: dict[str, Any] = {} if index is None else {"IndexName": index}
    request["KeyConditionExpression"] = Key(partition).eq(user) & Key(sort).begins_with(begins)
    answer = readback.client(endpoint).Table(TABLE).query(**request, ScanIndexForward=False)
    _say(f"the access pattern: Query {partition} = {user}, {sort} begins with {begins}, newest first")
    for item in answer["Items"][:3]:
        _row(rehearsal.row(item))
    _row(f"({len(answer['Items'])} orders in one request)")


def _row(text: str) -> None:
    lines.tell(text, text=f"      {text}", event="demo")


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
