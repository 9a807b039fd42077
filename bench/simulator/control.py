"""The endpoint under /_control: what happened so far, and what shall happen from now on.

Invariant: everything that can be set on the command line can be set here while the simulator runs.
"""

from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import orjson

from bench.simulator.capacity import Resources, Throughput
from bench.simulator.errors import ApiError
from bench.simulator.faults import LATE_S, FaultPlan, Rates
from bench.simulator.latency import Latency
from bench.simulator.schema import Item, Key, Schema
from bench.simulator.service import Reply, Service
from bench.simulator.settings import TABLE, Capacity, Model
from bench.simulator.table import Table

PREFIX: Final = "/_control/"
JOURNAL_PAGE: Final = 10_000
MOST_WRITTEN: Final = 10

Query = Mapping[str, str]


def control(service: Service, method: str, url: str, body: bytes, now: float) -> Reply:
    """Answer a request under /_control."""
    parts = urlsplit(url)
    what = _ACTIONS.get((method, parts.path.removeprefix(PREFIX)))
    if what is None:
        known = ", ".join(f"{each} {PREFIX}{name}" for each, name in _ACTIONS)
        return _fault(404, f"there is no {method} {parts.path}; there are {known}")
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    try:
        given = orjson.loads(body) if body else {}
        return Reply(200, orjson.dumps(what(service, query, given, now), option=orjson.OPT_NON_STR_KEYS))
    except ApiError as error:
        return _fault(400, error.message)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return _fault(400, f"{type(error).__name__}: {error}")


def _statistics(service: Service, query: Query, _: Any, now: float) -> dict[str, Any]:
    """Tell what was asked, written, offered and used."""
    requests: dict[str, dict[str, int]] = {}
    for (operation, outcome), count in service.requests.items():
        requests.setdefault(operation, {})[outcome] = count
    only = query.get("table")
    tables = service.database.tables if only is None else {only: service.database.table(only, named=True)}
    return {
        "now_s": now,
        "requests": requests,
        "outcomes_by_second": {second: dict(outcomes) for second, outcomes in service.seconds.items()},
        "tables": {name: _table(table, service.database.model) for name, table in tables.items()},
    }


def _table(table: Table, model: Model) -> dict[str, Any]:
    journal = table.journal
    repeats = journal.repeats()
    return {
        "items": len(table.items),
        "bytes": table.size,
        "writes": len(journal.keys),
        "deletes": sum(journal.deletes),
        "keys": len(repeats),
        "keys_by_writes": dict(sorted(Counter(repeats.values()).items())),
        "most_written": [
            {"key": key_item(table.schema, key), "writes": writes}
            for key, writes in repeats.most_common(MOST_WRITTEN)
        ],
        "overlaps": journal.overlaps,
        "partitions": {name: len(part.partitions) for name, part in _named(table.resources.write)},
        "seconds": _seconds(table, model),
    }


def _seconds(table: Table, model: Model) -> list[dict[str, Any]]:
    """Tell, for each second in which something happened, what was offered, used and throttled.

    Units: units of the second; nothing is said of an offer without a limit.
    """
    resources: Resources = table.resources
    writes = Counter(int(at) for at in table.journal.times)
    return [
        {
            "second": second,
            "writes": writes[second],
            "write": {name: _units(part, second, model) for name, part in _named(resources.write)},
            "read": {name: _units(part, second, model) for name, part in _named(resources.read)},
        }
        for second in sorted({*resources.seconds(), *writes})
    ]


def _journal(service: Service, query: Query, _: Any, __: float) -> dict[str, Any]:
    """Tell the applied writes of one table, in order."""
    table = service.database.table(query.get("table"), named=True)
    journal = table.journal
    start, limit = int(query.get("start", 0)), int(query.get("limit", JOURNAL_PAGE))
    stop = min(start + limit, len(journal.keys))
    entries = [
        {
            "sequence": number,
            "at_s": journal.times[number],
            "key": key_item(table.schema, journal.keys[number]),
            "delete": bool(journal.deletes[number]),
        }
        for number in range(start, stop)
    ]
    return {"writes": len(journal.keys), "entries": entries}


def _capacity(service: Service, _: Query, given: Any, now: float) -> dict[str, Any]:
    """Set what a table or an index takes: `write` and `read` a second, from `in_s` seconds on."""
    for step in given if isinstance(given, list) else [given]:
        table = service.database.table(step["table"], named=True)
        index = step.get("index") or TABLE
        known = table.capacities[index]
        on_demand = step.get("on_demand", "write" not in step and "read" not in step and known.write is None)
        if on_demand:
            write = float(step.get("write", known.warm_write))
            warm = Capacity(warm_write=write, warm_read=float(step.get("read", 3 * write)))
            wanted = replace(warm, max_write=known.max_write, max_read=known.max_read)
        else:
            wanted = Capacity(
                write=float(step.get("write", known.write or known.warm_write)),
                read=float(step.get("read", known.read or known.warm_read)),
            )
        service.database.set_capacity(table, index, wanted, now, now + float(step.get("in_s", 0.0)))
    return {}


def _faults(service: Service, _: Query, given: Any, __: float) -> dict[str, Any]:
    """Set how often requests go wrong; the plan begins anew."""
    rates = Rates(
        {name: float(rate) for name, rate in given.get("rates", {}).items()}, given.get("late_s", LATE_S)
    )
    service.plan = FaultPlan(rates, int(given.get("seed", service.seed)))
    return {}


def _latency(service: Service, _: Query, given: Any, __: float) -> dict[str, Any]:
    """Set how long answers take."""
    service.latency = Latency.of_ms(float(given["median_ms"]), given.get("p99_ms"))
    return {}


def _model(service: Service, _: Query, given: Any, __: float) -> dict[str, Any]:
    """Set figures of the capacity model, for tables created from now on."""
    service.database.model = replace(service.database.model, **given)
    return {}


def _reset(service: Service, _: Query, given: Any, now: float) -> dict[str, Any]:
    """Forget counts, journals and saved capacity; with `tables` the tables too."""
    service.reset(now, tables=bool(given.get("tables")))
    return {}


_ACTIONS: Final[Mapping[tuple[str, str], Callable[[Service, Query, Any, float], dict[str, Any]]]] = {
    ("GET", "statistics"): _statistics,
    ("GET", "journal"): _journal,
    ("POST", "capacity"): _capacity,
    ("POST", "faults"): _faults,
    ("POST", "latency"): _latency,
    ("POST", "model"): _model,
    ("POST", "reset"): _reset,
}


def key_item(schema: Schema, key: Key) -> Item:
    """Return a primary key as it stands on the wire."""
    return {
        name: {schema.types[name]: b64encode(value).decode() if isinstance(value, bytes) else str(value)}
        for name, value in zip(schema.keys.names, key[1:], strict=True)
    }


def _named(parts: Mapping[str, Throughput]) -> list[tuple[str, Throughput]]:
    return [(name or "table", part) for name, part in parts.items()]


def _units(part: Throughput, second: int, model: Model) -> dict[str, float | None]:
    return {
        "offered": part.offered(second) if model.limited else None,
        "used": part.used.get(second, 0.0),
        "throttled": part.throttled.get(second, 0.0),
    }


def _fault(status: int, sentence: str) -> Reply:
    return Reply(status, orjson.dumps({"error": sentence}))
