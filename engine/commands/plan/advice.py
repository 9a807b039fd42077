"""What a plan's figures mean for the person who has to decide, in plain words. Pure.

Invariant: losses come first; every sentence says what to do, or that nothing needs doing.
"""

from collections.abc import Iterator

from engine.amounts import counted
from engine.commands.plan.plan import Plan

OTHERWISE = "mend the rows, the rule, or leave such rows out with `when`"


def advise(plan: Plan) -> list[str]:
    """Say what to do before the load, the most important first."""
    begin = "`backfill run`" if plan.exists else "`backfill table create`, then `backfill run`"
    said = [*_losses(plan), *plan.target.advice]
    if plan.loses:
        return [*said, "Mend that first; a load now would lose or overwrite items."]
    if plan.refused:
        return [*said, "Mend what a run is refused for, as the warning says, then plan again."]
    if plan.unproved is None or plan.whole:
        return [*said, f"Nothing stands in the way: {begin}."]
    return [
        *said,
        "No two items of the sample share a key, but the rules don't prove it for the rest:"
        " `backfill plan --full` looks at every row.",
        f"Otherwise nothing stands in the way: {begin}.",
    ]


def _losses(plan: Plan) -> Iterator[str]:
    if plan.collisions.keys:
        where = "" if plan.whole else " in the sample alone"
        way = "make the key show which row and rule an item is from"
        if plan.unproved is not None:
            way = f"{plan.unproved.why}; {plan.unproved.way_out}"
        yield (
            f"{counted(plan.collisions.keys, 'key')}{where} would be written more than once, and"
            f" {counted(plan.collisions.lost, 'item')} overwritten: {way}."
        )
    for name, rule in plan.tally.rules.items():
        for reason, count in rule.flaws.most_common():
            lost = plan.scaled(count)
            become = "would be a dead letter" if lost == 1 else "would be dead letters"
            yield (
                f"Rule {name}: {'' if plan.whole else 'about '}{counted(lost, 'item')} {become}"
                f" ({reason}): {plan.target.ways_out.get(reason, OTHERWISE)}."
            )
