"""The price list: one dated file, which the user may replace.

Invariant: no price stands in code.
"""

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from connectors.dynamodb.table_info import TableInfo
from engine.errors import JobError
from engine.frozen import dataclass
from engine.job.yaml_core import parse_yaml


@dataclass(frozen=True, slots=True)
class Prices:
    """What AWS charges. Units: US dollars for what each name says; a GB has 10^9 bytes."""

    as_of: str
    region: str
    note: str
    write_units_per_million: float
    write_capacity_unit_hour: float
    storage_gb_month: float
    s3_import_gb: float


def load_prices(path: Path | None) -> Prices:
    """Read a price list; without a path the packaged one. Raises: JobError."""
    if path is None:
        return _packaged()
    try:
        return _prices(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"--prices {path}: it can't be read; name a file like the packaged one") from error


def unit_usd(table: TableInfo, prices: Prices) -> Mapping[str, float]:
    """Return what a write unit of the table costs in all its replicas, in US dollars, by way of paying.

    A unit of provisioned capacity that is used to the full writes 3,600 an hour.
    """
    copies = 1 + len(table.replicas)
    return {
        "on_demand": copies * prices.write_units_per_million / 1e6,
        "provisioned": copies * prices.write_capacity_unit_hour / 3600,
    }


@cache
def _packaged() -> Prices:
    file = resources.files("connectors.dynamodb.planning").joinpath("prices.yaml")
    return _prices(file.read_text("utf-8"), file.name)


def _prices(text: str, name: str) -> Prices:
    data: Any = parse_yaml(text)
    known = [field.name for field in fields(Prices)]
    if not isinstance(data, dict) or set(data) != set(known):
        raise JobError(f"--prices {name}: it must have exactly these keys: {', '.join(known)}")
    values: dict[str, Any] = {}
    for field in fields(Prices):
        value = data[field.name]
        if field.type is str:
            values[field.name] = str(value)
            continue
        try:
            values[field.name] = float(value)
        except (TypeError, ValueError):
            raise JobError(f"--prices {name}: {field.name} must be a number of dollars") from None
        if values[field.name] < 0:
            raise JobError(f"--prices {name}: {field.name} can't be negative")
    return Prices(**values)
