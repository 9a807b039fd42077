"""What the campaign says: a line for each seed, a table at the end. Pure."""

from collections import Counter
from collections.abc import Sequence

from tests.campaign.runner import Outcome


def line(outcome: Outcome) -> str:
    """One line for one seed; what failed stands below it, with the way to run it again."""
    plan = outcome.plan
    moved = f" moved {plan.move.name}" if plan.move is not None and outcome.moved else ""
    hit = sum(outcome.faults.values())
    said = (
        f"seed {plan.seed:>4}  {plan.source:<8} {plan.shape:<9} {plan.mode:<6} rows {plan.rows:>5} "
        f"workers {plan.workers}  runs {outcome.runs} kills {outcome.kills} stops {outcome.stops}{moved}  "
        f"requests {outcome.requests:>4} faults {hit:>4} writes {outcome.writes:>5}  "
        f"{outcome.elapsed_s:5.1f} s  {'well' if not outcome.failures else 'FAILED'}"
    )
    if not outcome.failures:
        return said
    return "\n".join(
        [said, *(f"    {each}" for each in outcome.failures), f"    {plan.said}",
         f"    again: python -m tests.campaign --seed {plan.seed}"]
    )  # fmt: skip


def table(outcomes: Sequence[Outcome]) -> str:
    """The sums, fit to be quoted."""
    faults: Counter[str] = Counter()
    for outcome in outcomes:
        faults.update(outcome.faults)
    failed = [outcome.plan.seed for outcome in outcomes if outcome.failures]
    figures = {
        "seeds": len(outcomes),
        "runs": sum(outcome.runs for outcome in outcomes),
        "kills": sum(outcome.kills for outcome in outcomes),
        "stops": sum(outcome.stops for outcome in outcomes),
        "moves": sum(outcome.moved for outcome in outcomes),
        "requests": sum(outcome.requests for outcome in outcomes),
        "faults": sum(faults.values()),
        "writes": sum(outcome.writes for outcome in outcomes),
        "writes behind their connection": sum(outcome.strays for outcome in outcomes),
        "checks": sum(outcome.checks for outcome in outcomes),
        "seeds failed": f"{len(failed)} {failed or ''}".strip(),
    }
    by_kind = "\n".join(f"  {count:>6}  {name}" for name, count in faults.most_common())
    lines = [
        f"{name:<32} {value:,}" if isinstance(value, int) else f"{name:<32} {value}"
        for name, value in figures.items()
    ]
    return "\n".join(["", *lines, "", "faults by kind", by_kind])
