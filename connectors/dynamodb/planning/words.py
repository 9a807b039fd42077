"""A table's part of a plan, for people and as JSON. Pure."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from connectors.dynamodb.planning.advice import WAYS_OUT, advise, place, warn
from connectors.dynamodb.planning.forecast import Forecast, LoadTime
from connectors.dynamodb.planning.hot_keys import HotKey
from connectors.dynamodb.planning.use import TABLE
from engine.amounts import counted, duration, number
from engine.contracts.planning import PlanTable, TargetPlan

SECONDS_SHOWN_MIN = 1.0
SHARE_SHOWN_MIN = 0.01
"""Less of the writes than this is no hot key to a person, who sees the others."""
SIZE_BOUNDS = (256, 512, 1_024, 2_048, 4_096, 16_384, 65_536, 409_600)
"""Units: bytes; most steps are where an item costs one unit more, the last is the most that there is."""


def target_plan(found: Forecast) -> TargetPlan:
    """Return what a plan shows of a table."""
    return TargetPlan(
        summary=_summary(found),
        described={"table": _described(found)},
        members=_members(found),
        lines=_lines(found),
        writes=_writes(found),
        details=[_hot(found)] if any(map(_is_hot, found.hot)) else [],
        warnings=warn(found),
        advice=advise(found),
        ways_out=WAYS_OUT,
        load_s=found.load_s,
        sums={"write units": found.volume.total_units, "USD on demand": found.cost.on_demand},
        size_bounds=SIZE_BOUNDS,
    )


def _described(found: Forecast) -> dict[str, Any]:
    table = found.planned.info
    return {
        "name": table.name,
        "exists": found.planned.exists,
        "billing": table.billing,
        "mode": found.planned.mode,
        "items_there": table.item_count,
        "ttl": None if table.ttl is None else table.ttl.attribute,
        "indexes": [
            {"name": index.name, "local": index.local, "projection": index.projection}
            for index in table.indexes
        ],
    }


def _members(found: Forecast) -> dict[str, Any]:
    units, prices = found.volume.units, found.planned.prices
    return {
        "write_units": {
            "table": round(units[TABLE]),
            "gsi": {name: round(each) for name, each in units.items() if name != TABLE},
            "total": round(found.volume.total_units),
        },
        "index_entries": {name: round(each) for name, each in found.writes.items() if name != TABLE},
        "expired": round(found.expired),
        "cost_usd": {name: round(value, 4) for name, value in asdict(found.cost).items()},
        "prices": {"as_of": prices.as_of, "region": prices.region, "note": prices.note},
        "time": {
            "now": _time(found.now),
            "warm": _time(found.warm),
            "max_wcu": None if found.capped is None else _time(found.capped),
        },
        "hot_partition_keys": [
            {**asdict(hot), "of": hot.of or "table", "share": round(hot.share, 6)} for hot in found.hot
        ],
    }


def _time(time: LoadTime) -> dict[str, Any]:
    return {
        "seconds": round(time.seconds, 1),
        "wcu_per_s": time.wcu_per_s,
        "bound_by": time.bound_by or "table",
        "partition_key": time.key,
    }


def _summary(found: Forecast) -> str:
    table = found.planned.info
    state = "exists" if found.planned.exists else "to be created"
    billing = "on demand" if table.billing == "on_demand" else f"provisioned, {table.write_capacity} WCU"
    indexes = counted(len(table.indexes), "index", "indexes")
    there = f", {counted(table.item_count, 'item')} there" if table.item_count else ""
    ttl = "" if table.ttl is None else f", items expire by {table.ttl.attribute}"
    return f"{table.name} ({state}, {billing}, {indexes}{there}{ttl}), mode {found.planned.mode}"


def _lines(found: Forecast) -> list[tuple[str, str]]:
    cost, prices = found.cost, found.planned.prices
    times = [f"now {_at(found.now)}", f"warmed {_at(found.warm)}"]
    if found.capped is not None:
        times.append(f"with max_wcu {_at(found.capped)}")
    return [
        ("time", "; ".join(times)),
        (
            "cost",
            f"on demand {_usd(cost.on_demand)}; provisioned {_usd(cost.provisioned)}; S3 import"
            f" {_usd(cost.s3_import)}; then storage {_usd(cost.storage_month)} a month",
        ),
        ("", f"(list prices of {prices.region}, {prices.as_of}; --prices for others)"),
    ]


def _at(time: LoadTime) -> str:
    if time.key is not None:
        by = f"bound by one partition key of {place(time.bound_by)}"
    else:
        by = (
            f"{number(time.wcu_per_s)} WCU/s"
            if time.bound_by == TABLE
            else f"bound by {place(time.bound_by)}"
        )
    return f"{'under 1 s' if time.seconds < SECONDS_SHOWN_MIN else duration(time.seconds)} ({by})"


def _usd(dollars: float) -> str:
    return "under $0.01" if 0 < dollars < 0.01 else f"${dollars:,.2f}"


def _writes(found: Forecast) -> PlanTable:
    def rows() -> Iterator[tuple[str, ...]]:
        units = found.volume.units
        yield "the table", number(found.writes[TABLE]), number(units[TABLE]), ""
        for index in found.planned.info.indexes:
            kind = f"{index.projection}{', local' if index.local else ''}"
            yield index.name, number(found.writes[index.name]), number(units[index.name]), kind
        if len(units) > 1:
            yield "together", "", number(found.volume.total_units), ""

    return PlanTable(("writes of", "items", "WCU", "projection"), (1, 2), [*rows()])


def _hot(found: Forecast) -> PlanTable:
    return PlanTable(
        ("hottest partition keys", "in", "share", "at least"),
        (2, 3),
        [
            (
                hot.key,
                place(hot.of),
                f"{100 * hot.share:.2f} %",
                "" if hot.least_s < SECONDS_SHOWN_MIN else duration(hot.least_s),
            )
            for hot in found.hot
            if _is_hot(hot)
        ],
    )


def _is_hot(hot: HotKey) -> bool:
    """Say whether a key is one to know of: of many that share the writes evenly none is."""
    return hot.share >= SHARE_SHOWN_MIN
