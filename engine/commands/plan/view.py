"""A plan in words and aligned tables, for a terminal: the figures on one screen, what needs detail after it.

Invariant: what comes from the source is shown as plain text, never as markup or as what a terminal obeys.
"""

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.amounts import bytes_text, counted, duration, number
from engine.commands.plan.plan import Plan
from engine.contracts.planning import PlanTable
from engine.masking import printable

BAR = 20
"""Marks of the longest bar of the histogram."""
WHOLE_CHARS_MAX = 24
"""Columns of shorter texts keep their words whole on a narrow terminal; the longer ones make room."""
KNOWN = {
    "all": "none: every key was compared",
    "proved": "none possible: keys hold what tells rows apart",
    "sample": "none in the sample; --full looks at every row",
}
"""What is known of collisions where none were found."""


def render(plan: Plan, *, width: int, colour: bool) -> str:
    """Write a plan for a terminal of this width."""
    console = Console(
        file=io.StringIO(), width=width, force_terminal=colour, no_color=not colour, highlight=False
    )
    for part in _parts(plan):
        console.print(part)
    file = console.file
    assert isinstance(file, io.StringIO)
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip().splitlines())


def together(plans: Sequence[Plan]) -> str:
    """Say in one line what several jobs come to."""
    sums: Counter[str] = Counter()
    for plan in plans:
        sums.update(plan.target.sums)
    parts = [
        counted(len(plans), "job"),
        counted(sum(plan.source.rows for plan in plans), "row"),
        counted(sum(plan.scaled(plan.tally.writes) for plan in plans), "item"),
        counted(sum(plan.scaled(plan.tally.flawed) for plan in plans), "dead letter"),
        *(
            f"{value:,.2f} {unit}" if value < 100 else f"{number(value)} {unit}"
            for unit, value in sums.items()
        ),
    ]
    times = [plan.target.load_s for plan in plans if plan.target.load_s is not None]
    took = f"; {duration(sum(times))} one after the other" if len(times) == len(plans) else ""
    return f"together: {', '.join(parts)}{took}"


def _parts(plan: Plan) -> Iterator[Table | Text]:
    yield Text(printable(f"{plan.job}: {plan.source.reads} into {plan.into}"), style="bold")
    overview = Table.grid(padding=(0, 2))
    for name, text in _overview(plan):
        overview.add_row(f"  {name}", Text(printable(text)))
    yield overview
    yield from map(_table, _tables(plan))
    if plan.warnings:
        yield Text("\nWarnings", style="bold yellow")
        yield from map(_item, plan.warnings)
    yield Text("\nAdvice", style="bold red" if plan.loses else "bold green")
    yield from map(_item, plan.advice)


def _item(sentence: str) -> Table:
    """Write a sentence with a mark before it, its lines aligned."""
    grid = Table.grid(padding=(0, 1))
    grid.add_row(" -", Text(printable(sentence)))
    return grid


def _table(content: PlanTable) -> Table:
    """Write a table below an empty line, set in."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for position, column in enumerate(content.columns):
        right = position in content.right
        name = f"\n{column and '  ' * (not position) + column}"
        longest = max((len(row[position]) for row in content.rows), default=0)
        whole = right or longest <= WHOLE_CHARS_MAX
        table.add_column(name, justify="right" if right else "left", no_wrap=whole, overflow="fold")
    for first, *others in content.rows:
        table.add_row(Text(printable(f"  {first}")), *(Text(printable(other)) for other in others))
    return table


def _overview(plan: Plan) -> Iterator[tuple[str, str]]:
    source, tally, sizes = plan.source, plan.tally, plan.tally.sizes
    size = "" if source.size_bytes is None else f", {bytes_text(source.size_bytes)}"
    how = {"counted": "", "estimated": "about ", "unknown": "at least "}[source.rows_are]
    segments = counted(source.segments, "segment") + (" in order" if source.ordered_reason else "")
    yield "source", f"{how}{counted(source.rows, 'row')}{size}, {segments}"
    looked = "every row" if plan.whole else f"{counted(tally.rows, 'row')} from all over it"
    yield "looked at", f"{looked}: {counted(tally.writes, 'item')}"
    yield "target", plan.target.summary
    if plan.target.size_bounds:
        of_share = (f"{name} {bytes_text(sizes.at(share))}" for name, share in (("p50", 0.5), ("p95", 0.95)))
        yield (
            "item sizes",
            f"{', '.join(of_share)}, largest {bytes_text(sizes.at(1))},"
            f" {bytes_text(sizes.total * plan.scale)} in all",
        )
    yield from plan.target.lines
    if plan.collisions.keys:
        where = "" if plan.coverage == "all" else " in the sample"
        keys = counted(plan.collisions.keys, "key")
        yield "collisions", f"{keys} of several items{where}, {number(plan.collisions.lost)} overwritten"
    else:
        yield "collisions", KNOWN[plan.coverage]
    about = "" if plan.whole else "about "
    yield "dead letters", f"{about}{number(plan.scaled(tally.flawed))}" if tally.flawed else "none found"
    if plan.catch_up is not None:
        yield "catch-up", plan.catch_up


def _tables(plan: Plan) -> Iterator[PlanTable]:
    yield _rules(plan)
    if plan.unproved is not None:
        yield _keys(plan)
    if plan.target.writes is not None:
        yield plan.target.writes
    if plan.target.size_bounds:
        yield _histogram(plan)
    yield from plan.target.details
    if plan.collisions.keys:
        yield _collisions(plan)
    if plan.tally.flawed:
        yield _dead_letters(plan)


def _rules(plan: Plan) -> PlanTable:
    rows, scale = plan.tally.rows, plan.scale
    return PlanTable(
        ("rule", "items", "per row", "deletes", "dead letters"),
        (1, 2, 3, 4),
        [
            (
                name,
                number(rule.writes * scale),
                f"{rule.writes / rows if rows else 0:.3g}",
                number(rule.deletes * scale),
                number(rule.flaws.total() * scale),
            )
            for name, rule in plan.tally.rules.items()
        ],
    )


def _keys(plan: Plan) -> PlanTable:
    """Say how equal keys are kept in their order."""
    return PlanTable(
        ("keys of rule", "are", "why", "which costs"),
        (),
        [(way.rule, way.way, way.why, way.cost) for way in plan.keys],
    )


def _histogram(plan: Plan) -> PlanTable:
    counts = plan.tally.sizes.histogram(plan.target.size_bounds)
    most = max(count for _, count in counts)
    filled = [position for position, (_, count) in enumerate(counts) if count]
    shown = counts[filled[0] : filled[-1] + 1] if filled else []
    items = plan.tally.items
    return PlanTable(
        ("item size", "share", ""),
        (1,),
        [
            (f"up to {bytes_text(bound)}", f"{100 * (count / items):.1f} %", "#" * round(BAR * count / most))
            for bound, count in shown
        ],
    )


def _collisions(plan: Plan) -> PlanTable:
    rows = []
    for repeated in plan.collisions.examples:
        sharers = (
            f"{each.rule}{' (delete)' if each.deleted else ''} {_row(each.source_key)}".rstrip()
            for each in repeated.members
        )
        rows.append((" | ".join(repeated.key), number(repeated.items), "; ".join(sharers)))
    return PlanTable(("repeated keys", "items", "of"), (1,), rows)


def _dead_letters(plan: Plan) -> PlanTable:
    rows = []
    for name, rule in plan.tally.rules.items():
        for reason, count in rule.flaws.most_common():
            detail, key = rule.examples[reason][0]
            example = f"{detail} ({_row(key)})" if key else detail
            rows.append((reason, name, number(count * plan.scale), example))
    return PlanTable(("dead letters", "rule", "items", "for example"), (2,), rows)


def _row(source_key: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name}={value}" for name, value in source_key.items())
