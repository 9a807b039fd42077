"""A table's part of a plan, for people and as JSON, with what its figures mean for them. Pure."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from connectors.dynamodb.planning.forecast import TABLE_QUOTA_WCU_PER_S, Forecast, LoadTime
from connectors.dynamodb.planning.hot_keys import HotKey
from connectors.dynamodb.planning.use import TABLE
from engine.amounts import counted, duration, number
from engine.contracts.planning import PlanTable, TargetPlan

WORTH_WARMING = 1.5
"""How many times longer the load must take cold before warming is worth a sentence."""
WARMING_S_MIN = 120.0
HOT_SHARE = 0.5
"""Share of the time at the present limits from which on a hot key is named as the bound."""
HOT_S_MIN = 10.0
WAYS_OUT = {
    "key_null": "fill the column in, or leave such rows out with `when`",
    "key_empty": "fill the column in, or leave such rows out with `when`",
    "key_type": "give the attribute the index key's type with `as`, or leave it out of such items",
    "key_too_long": "shorten the key, with `sql` or by another template",
    "item_too_large": "leave large columns out with `exclude`, or keep them in S3",
    "number_precision": "set options.numbers to string",
    "number_range": "set options.numbers to string",
    "number_not_finite": "set options.numbers to string",
    "nesting_too_deep": "load the document as its text, with `as: json`",
    "set_invalid": "write it `as: L`, or leave empty ones out",
}


def place(of: str) -> str:
    """Name the table or an index in a sentence."""
    return "the table" if of == TABLE else f"index {of}"


def advise(found: Forecast) -> list[str]:
    """Say what makes the load faster or cheaper."""
    return [*_speed(found), *_money(found), *_expired(found)]


def warn(found: Forecast) -> list[str]:
    """Say what may surprise during the load."""
    said, table = [], found.planned.info
    if table.item_count:
        said.append(
            f"Table {table.name} holds {counted(table.item_count, 'item')} already (by its own,"
            " hours old count): replacing a larger item costs its size, and a changed index key two writes."
        )
    hottest = {hot.of: hot for hot in reversed(found.hot)}
    said += [
        f"{100 * hot.share:.3g} % of the writes of {place(hot.of)} have the partition key {hot.key}: at 1,000"
        f" units per second of one key, that alone takes {duration(hot.least_s)}."
        for hot in reversed(hottest.values())
        if hot.least_s >= HOT_S_MIN and hot.least_s > HOT_SHARE * found.now.seconds
    ]
    return said


def _speed(found: Forecast) -> list[str]:
    said = []
    now, warm = found.now, found.warm
    if not found.warmed and now.seconds > WARMING_S_MIN and now.seconds > WORTH_WARMING * warm.seconds:
        rate = number(warm.wcu_per_s)
        if found.planned.info.billing == "provisioned":
            how = f"Provisioned for {rate} units per second while it loads"
        elif found.planned.exists:
            how = f"Warmed to {rate} units per second before (UpdateTable, WarmThroughput)"
        else:
            how = f"Created with `warm_throughput: {{write: {TABLE_QUOTA_WCU_PER_S}}}`"
        said.append(
            f"{how}, the load could take {duration(warm.seconds)} instead of {duration(now.seconds)}."
        )
    if now.key is not None and now.seconds > WARMING_S_MIN:
        said.append(
            f"One partition key of {place(now.bound_by)} sets the pace, and no capacity helps: spread it over"
            " several, such as by a suffix that readers can compute"
            f"{', or add the index after the load' if now.bound_by != TABLE else ''}."
        )
    elif now.bound_by != TABLE and now.seconds > WARMING_S_MIN:
        said.append(
            f"What holds it back is {place(now.bound_by)}, since a starved index throttles the whole table:"
            " give it at least the capacity that its own writes need, or add it after the load."
        )
    if found.capped is not None and found.capped.seconds > max(2 * now.seconds, WARMING_S_MIN):
        said.append(
            f"target.max_wcu makes it {duration(found.capped.seconds)}; the table itself would allow"
            f" {duration(now.seconds)}."
        )
    return said


def _expired(found: Forecast) -> list[str]:
    ttl, count = found.planned.info.ttl, round(found.expired)
    if ttl is None or not count:
        return []
    those = f"{counted(count, 'item')} whose {ttl.attribute} lies in the past"
    if found.planned.skips_expired:
        return [f"{those}: left out, for DynamoDB would delete them."]
    return [f"{those}: DynamoDB deletes what was paid for; `target.expired: skip` leaves them out."]


def _money(found: Forecast) -> list[str]:
    if found.planned.exists or found.cost.on_demand < 1 or found.cost.s3_import > found.cost.on_demand / 2:
        return []
    return [
        f"An import from S3 would cost ${found.cost.s3_import:,.2f} instead of ${found.cost.on_demand:,.2f},"
        " but takes a new table only, overwrites equal keys in any order, and skips the rest of a file at its"
        " first bad line."
    ]


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
