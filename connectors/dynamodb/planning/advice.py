"""What the figures mean for the person who has to decide, as far as the table goes, in plain words. Pure."""

from connectors.dynamodb.planning.forecast import TABLE_QUOTA_WCU_PER_S, Forecast
from connectors.dynamodb.planning.use import TABLE
from engine.amounts import counted, duration, number

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
