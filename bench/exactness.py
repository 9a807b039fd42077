"""What arrives of values that are easily altered: the engine and ingestr over the same rows, one a value.

Invariant: a value counts as the same by what it means, in whatever form the tool writes it: a number by its
digits, a time by its instant and by whether it has a zone, a document by its members.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml
from botocore.session import Session

from bench import contenders, servers
from engine.environment import module_command
from engine.exits import Exit

ENGINE = "backfill"

Environment = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class HostileValue:
    """A column of a table of one row: its type, its value as SQL, and what must arrive, in plain Python."""

    name: str
    type: str
    sql: str
    value: Any


COLUMNS = (
    HostileValue("bigint_max", "bigint", "9223372036854775807", Decimal(2**63 - 1)),
    HostileValue("numeric_12_digits_behind", "numeric", "0.123456789012", Decimal("0.123456789012")),
    HostileValue(
        "numeric_38_digits",
        "numeric",
        "12345678901234567890123456789012345.678",
        Decimal("12345678901234567890123456789012345.678"),
    ),
    HostileValue("numeric_nan", "numeric", "'NaN'", "NaN"),
    HostileValue("float_infinity", "float8", "'-Infinity'", "-Infinity"),
    HostileValue("float_17_digits", "float8", "0.1::float8 + 0.2::float8", Decimal("0.30000000000000004")),
    HostileValue("text_empty", "text", "''", ""),
    HostileValue("text_null", "text", "NULL", None),
    HostileValue("char_padded", "char(5)", "'ab'", "ab   "),
    HostileValue("date", "date", "'1000-01-01'", "1000-01-01"),
    HostileValue(
        "timestamp_no_zone",
        "timestamp",
        "'2024-02-29 12:00:00.123456'",
        datetime.fromisoformat("2024-02-29T12:00:00.123456"),
    ),
    HostileValue(
        "timestamp_zone",
        "timestamptz",
        "'2024-02-29 12:00:00.123456+05:30'",
        datetime.fromisoformat("2024-02-29T06:30:00.123456+00:00"),
    ),
    HostileValue("time_zone", "timetz", "'12:00:00+05:30'", "12:00:00+05:30"),
    HostileValue(
        "uuid", "uuid", "'00112233-4455-6677-8899-aabbccddeeff'", "00112233-4455-6677-8899-aabbccddeeff"
    ),
    HostileValue("bytes", "bytea", r"'\x00ff'", b"\x00\xff"),
    HostileValue("ints", "int[]", "'{1,NULL,3}'", [Decimal(1), None, Decimal(3)]),
    HostileValue(
        "two_dimensions", "int[]", "'{{1,2},{3,4}}'", [[Decimal(1), Decimal(2)], [Decimal(3), Decimal(4)]]
    ),
    HostileValue(
        "json_long_number",
        "jsonb",
        """'{"n": 12345678901234567890.5, "t": null}'""",
        {"n": Decimal("12345678901234567890.5"), "t": None},
    ),
)


def plain(attribute: Mapping[str, Any] | None) -> Any:
    """Return what an attribute holds in plain Python; one that isn't there is None."""
    if attribute is None:
        return None
    [(letter, value)] = attribute.items()
    match letter:
        case "N":
            return Decimal(value)
        case "NULL":
            return None
        case "L":
            return [plain(each) for each in value]
        case "M":
            return {name: plain(each) for name, each in value.items()}
        case _:
            return value


def same(arrived: Any, value: Any) -> bool:
    """Say whether a value arrived as what it is."""
    match value:
        case Decimal():
            return bool(_as(Decimal, arrived) == value)
        case datetime():
            return bool(_as(datetime.fromisoformat, arrived) == value)
        case list() | dict() if isinstance(arrived, str):
            return bool(
                _as(lambda text: json.loads(text, parse_float=Decimal, parse_int=Decimal), arrived) == value
            )
        case _:
            return bool(arrived == value)


def _as(read: Callable[[Any], Any], arrived: Any) -> Any:
    try:
        return read(arrived)
    except (ValueError, ArithmeticError, TypeError):
        return None


def job(column: HostileValue, source: str, endpoint: str) -> Mapping[str, Any]:
    """Return the engine's job for a column's table."""
    return {
        "name": column.name,
        "source": {"type": "postgres", "url": source, "table": column.name},
        "target": {
            "type": "dynamodb",
            "table": f"{ENGINE}.{column.name}",
            "region": "us-east-1",
            "endpoint_url": endpoint,
        },
        "items": [{"name": "Row", "key": {"id": "{id}"}, "include": "all"}],
        "options": {"nulls": "keep"},
    }


def client(endpoint: str) -> Any:
    """Return botocore's own client."""
    return Session().create_client(
        "dynamodb",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 - our own simulator takes any
    )


def loaded(
    dynamodb: Any, table: str, column: HostileValue, command: Sequence[str], environment: Environment
) -> str:
    """Make a table, load one row into it, and say what became of its value."""
    dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    done = subprocess.run(  # noqa: S603 - a fixed command line
        command, env=environment, capture_output=True, text=True, check=False
    )
    items = dynamodb.scan(TableName=table)["Items"]
    if done.returncode == Exit.DEAD_LETTERS and not items:
        return "a dead letter with its reason"
    if done.returncode != Exit.DONE or not items:
        return "the program dies" if "goroutine" in done.stderr else f"refused, exit {done.returncode}"
    got = plain(items[0].get("value"))
    return "same" if same(got, column.value) else f"`{got!r}`"


def main() -> None:
    """Load each row by both, and print what arrived."""
    able, missing = contenders.ready([contenders.INGESTR], lambda line: print(line, file=sys.stderr))
    with (
        tempfile.TemporaryDirectory(prefix="backfill-bench-exact-") as place,
        servers.embedded_postgres(Path(place) / "data") as admin,
        servers.simulator("--unlimited") as endpoint,
    ):
        servers.execute(admin, "CREATE DATABASE exact")
        source = servers.database_url(admin, "exact")
        environment = contenders.environment(contenders.INGESTR, source, endpoint)
        dynamodb = client(endpoint)
        names = [ENGINE, *(peer.name for peer in able)]
        print(f"| value | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
        for column in COLUMNS:
            servers.execute(source, f"CREATE TABLE {column.name} (id text PRIMARY KEY, value {column.type})")
            servers.execute(source, f"INSERT INTO {column.name} VALUES ('one', {column.sql})")  # noqa: S608
            job_file = Path(place) / "job.yaml"
            job_file.write_text(yaml.safe_dump(job(column, source, endpoint)), encoding="utf-8")
            run = module_command("engine", "run", str(job_file), "--state", str(Path(place) / "state"))
            commands = {ENGINE: run}
            for peer in able:
                commands[peer.name] = peer.ingesting(f"public.{column.name}", f"{peer.name}.{column.name}")
            became = [
                loaded(dynamodb, f"{name}.{column.name}", column, command, environment)
                for name, command in commands.items()
            ]
            print(f"| `{column.type}` `{column.sql}` | {' | '.join(became)} |", flush=True)
    for name, why in missing.items():
        print(f"{name} was left out: {why}")


if __name__ == "__main__":
    main()
