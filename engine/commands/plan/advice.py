"""What the figures mean for the person who has to decide, in plain words. Pure.

Invariant: losses come first; every sentence says what to do, or that nothing needs doing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from connectors.dynamodb.table_info import TableInfo
from engine.amounts import counted, duration, number
from engine.commands.plan.collisions import Collisions
from engine.commands.plan.estimate import TABLE_QUOTA_WCU_PER_S, Cost, Pace, Volume
from engine.commands.plan.heat import TABLE, HotKey
from engine.commands.plan.tally import Tally

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
    "set_invalid": "write it `as: L`, or leave empty ones out",
}
OTHERWISE = "mend the rows, the rule, or leave such rows out with `when`"


@dataclass(frozen=True, slots=True)
class Findings:
    """All that advice is made of."""

    table: TableInfo
    exists: bool
    tally: Tally
    scale: float
    whole: bool
    full: bool
    volume: Volume
    cost: Cost
    now: Pace
    warm: Pace
    capped: Pace | None
    hot: Sequence[HotKey]
    collisions: Collisions
    ordered_reason: str | None
    warmed: bool


def place(of: str) -> str:
    """Name the table or an index in a sentence."""
    return "the table" if of == TABLE else f"index {of}"


def advise(found: Findings) -> list[str]:
    """Say what to do before the load, the most important first."""
    said = [*_losses(found), *_speed(found), *_money(found)]
    begin = "`backfill run`" if found.exists else "`backfill table create`, then `backfill run`"
    if found.collisions.keys or found.tally.flawed:
        said.append("Mend that first; a load now would lose or overwrite items.")
    elif found.ordered_reason is not None and not (found.full or found.whole):
        said.append(
            "No two items of the sample share a key, but the rules don't prove it for the rest:"
            " `backfill plan --full` looks at every row."
        )
        said.append(f"Otherwise nothing stands in the way: {begin}.")
    else:
        said.append(f"Nothing stands in the way: {begin}.")
    return said


def expected_s(now: Pace, capped: Pace | None) -> float:
    """Return how long the load takes, in seconds, as far as the table sets the pace."""
    return now.seconds if capped is None else max(now.seconds, capped.seconds)


def warn(found: Findings) -> list[str]:
    """Say what may surprise during the load."""
    said = []
    if found.table.item_count:
        said.append(
            f"Table {found.table.name} holds {counted(found.table.item_count, 'item')} already (by its own,"
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


def _losses(found: Findings) -> list[str]:
    said = []
    if found.collisions.keys:
        scope = "" if found.full or found.whole else " in the sample alone"
        way = found.ordered_reason or "Make the key show which row and rule an item is from"
        said.append(
            f"{counted(found.collisions.keys, 'key')}{scope} would be written more than once, and"
            f" {counted(found.collisions.lost, 'item')} overwritten: {way}."
        )
    for name, rule in found.tally.rules.items():
        for reason, count in rule.flaws.most_common():
            about = "" if found.whole else "about "
            said.append(
                f"Rule {name}: {about}{counted(round(count * found.scale), 'item')} would be dead letters"
                f" ({reason}): {WAYS_OUT.get(reason, OTHERWISE)}."
            )
    return said


def _speed(found: Findings) -> list[str]:
    said = []
    now, warm = found.now, found.warm
    if not found.warmed and now.seconds > WARMING_S_MIN and now.seconds > WORTH_WARMING * warm.seconds:
        rate = number(warm.wcu_per_s)
        if found.table.billing == "provisioned":
            how = f"Provisioned for {rate} units per second while it loads"
        elif found.exists:
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


def _money(found: Findings) -> list[str]:
    if found.exists or found.cost.on_demand < 1 or found.cost.s3_import > found.cost.on_demand / 2:
        return []
    return [
        f"An import from S3 would cost ${found.cost.s3_import:,.2f} instead of ${found.cost.on_demand:,.2f},"
        " but takes a new table only, overwrites equal keys in any order, and skips the rest of a file at its"
        " first bad line."
    ]
