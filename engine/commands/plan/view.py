"""A plan in words and aligned tables, for a terminal: the figures on one screen, what needs detail after it.

Invariant: what comes from the source is shown as plain text, never as markup.
"""

import io
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.amounts import bytes_text, counted, duration, number
from engine.commands.plan.advice import place
from engine.commands.plan.estimate import Pace
from engine.commands.plan.heat import TABLE
from engine.commands.plan.plan import HISTOGRAM_BOUNDS, Plan

BAR = 20
"""Marks of the longest bar of the histogram."""
SECONDS_SHOWN_MIN = 1.0


def render(plan: Plan, *, width: int, colour: bool) -> str:
    """Write a plan for a terminal of this width."""
    console = Console(
        file=io.StringIO(), width=width, force_terminal=colour, no_color=not colour, highlight=False
    )
    for part in _parts(plan):
        console.print(part, markup=False, soft_wrap=isinstance(part, str))
    file = console.file
    assert isinstance(file, io.StringIO)
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip().splitlines())


def _parts(plan: Plan) -> Iterator[str | Table | Text]:
    yield Text(f"{plan.job}: {plan.source.reads} into {plan.table.name}", style="bold")
    yield _overview(plan)
    yield _rules(plan)
    yield _writes(plan)
    yield _histogram(plan)
    if plan.hot:
        yield _hot(plan)
    if plan.collisions.keys:
        yield _collisions(plan)
    if plan.tally.flawed:
        yield _dead_letters(plan)
    if plan.warnings:
        yield Text("\nWarnings", style="bold yellow")
        for warning in plan.warnings:
            yield _item(warning)
    yield Text("\nAdvice", style="bold red" if plan.loses else "bold green")
    for sentence in plan.advice:
        yield _item(sentence)


def _item(sentence: str) -> Table:
    """Write a sentence with a mark before it, its lines aligned."""
    grid = Table.grid(padding=(0, 1))
    grid.add_row(" -", Text(sentence))
    return grid


def _table(*columns: str, right: Sequence[int] = ()) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for position, column in enumerate(columns):
        table.add_column(
            column, justify="right" if position in right else "left", no_wrap=position in right
        )  # fmt: skip
    return table


def _overview(plan: Plan) -> Table:
    grid = Table.grid(padding=(0, 2))
    source, cost = plan.source, plan.cost
    size = "" if source.size_bytes is None else f", {bytes_text(source.size_bytes)}"
    how = {"counted": "", "estimated": "about ", "unknown": "at least "}[source.rows_are]
    segments = counted(source.segments, "segment") + (" in order" if source.ordered_reason else "")
    grid.add_row("  source", f"{how}{counted(source.rows, 'row')}{size}, {segments}")
    looked = "every row" if plan.whole else f"{counted(plan.tally.rows, 'row')} from all over it"
    grid.add_row("  looked at", f"{looked}: {counted(plan.tally.writes, 'item')}")
    grid.add_row("  target", _target(plan))
    grid.add_row(
        "  item sizes",
        f"p50 {bytes_text(plan.tally.size_at(0.5))}, p95 {bytes_text(plan.tally.size_at(0.95))}, largest"
        f" {bytes_text(plan.tally.largest)}, {bytes_text(plan.volume.size_bytes)} in all",
    )
    grid.add_row("  time", "; ".join(_times(plan)))
    grid.add_row(
        "  cost",
        f"on demand {_usd(cost.on_demand)}; provisioned {_usd(cost.provisioned)}; S3 import"
        f" {_usd(cost.s3_import)}; then storage {_usd(cost.storage_month)} a month",
    )
    grid.add_row("", f"(list prices of {plan.prices.region}, {plan.prices.as_of}; --prices for others)")
    grid.add_row("  collisions", _collision_verdict(plan))
    about = "" if plan.whole else "about "
    flawed = plan.tally.flawed
    grid.add_row("  dead letters", f"{about}{number(round(flawed * plan.scale))}" if flawed else "none found")
    return grid


def _target(plan: Plan) -> str:
    table = plan.table
    state = "exists" if plan.table_exists else "to be created"
    billing = "on demand" if table.billing == "on_demand" else f"provisioned, {table.write_capacity} WCU"
    indexes = f", {counted(len(table.indexes), 'index', 'indexes')}"
    there = f", {counted(table.item_count, 'item')} there" if table.item_count else ""
    return f"{table.name} ({state}, {billing}{indexes}{there}), mode {plan.mode}"


def _times(plan: Plan) -> Iterator[str]:
    def at(pace: Pace) -> str:
        by = f"bound by {place(pace.bound_by)}" if pace.bound_by != TABLE else ""
        if pace.key is not None:
            by = f"bound by one partition key of {place(pace.bound_by)}"
        span = "under 1 s" if pace.seconds < SECONDS_SHOWN_MIN else duration(pace.seconds)
        return f"{span} ({by or number(pace.wcu_per_s) + ' WCU/s'})"

    yield f"now {at(plan.pace_now)}"
    yield f"warmed {at(plan.pace_warm)}"
    if plan.pace_capped is not None:
        yield f"with max_wcu {at(plan.pace_capped)}"


def _collision_verdict(plan: Plan) -> str:
    if plan.collisions.keys:
        found = plan.collisions
        scope = "" if plan.scope == "all" else " in the sample"
        return f"{counted(found.keys, 'key')} of several items{scope}, {number(found.lost)} overwritten"
    match plan.scope:
        case "all":
            return "none: every key was compared"
        case "proved":
            return "none possible: keys hold what tells rows apart"
        case "sample":
            return "none in the sample; --full looks at every row"


def _rules(plan: Plan) -> Table:
    table = _table("\n  rule", "\nitems", "\nper row", "\ndeletes", "\ndead letters", right=(1, 2, 3, 4))
    for name, rule in plan.tally.rules.items():
        writes = rule.items + rule.deletes
        per_row = writes / plan.tally.rows if plan.tally.rows else 0.0
        table.add_row(
            Text(f"  {name}"),
            number(writes * plan.scale),
            f"{per_row:.3g}",
            number(rule.deletes * plan.scale),
            number(rule.flaws.total() * plan.scale),
        )
    return table


def _writes(plan: Plan) -> Table:
    table = _table("\n  writes of", "\nitems", "\nWCU", "\nprojection", right=(1, 2))
    table.add_row("  the table", number(plan.volume.items), number(plan.volume.units[TABLE]), "")
    for index in plan.table.indexes:
        entries = plan.tally.indexes[index.name].entries * plan.scale
        kind = f"{index.projection}{', local' if index.local else ''}"
        table.add_row(
            Text(f"  {index.name}"), number(entries), number(plan.volume.units[index.name]), kind
        )  # fmt: skip
    if plan.table.indexes:
        table.add_row("  together", "", number(plan.volume.total_units), "")
    return table


def _histogram(plan: Plan) -> Table:
    table = _table("\n  item size", "\nshare", "", right=(1,))
    counts = plan.tally.histogram(HISTOGRAM_BOUNDS)
    most = max((count for _, count in counts), default=0)
    filled = [position for position, (_, count) in enumerate(counts) if count]
    for bound, count in counts[filled[0] : filled[-1] + 1] if filled else ():
        share = count / plan.tally.items
        table.add_row(f"  up to {bytes_text(bound)}", f"{100 * share:.1f} %", "#" * round(BAR * count / most))
    return table


def _hot(plan: Plan) -> Table:
    table = _table("\n  hottest partition keys", "\nin", "\nshare", "\nat least", right=(2, 3))
    for hot in plan.hot:
        least = "" if hot.least_s < SECONDS_SHOWN_MIN else duration(hot.least_s)
        table.add_row(Text(f"  {hot.key}"), Text(place(hot.of)), f"{100 * hot.share:.2f} %", least)
    return table


def _collisions(plan: Plan) -> Table:
    table = _table("\n  repeated keys", "\nitems", "\nof", right=(1,))
    for repeated in plan.collisions.examples:
        members = "; ".join(
            f"{member.rule}{' (delete)' if member.deleted else ''} {_row(member.source_key)}".rstrip()
            for member in repeated.members
        )
        table.add_row(Text(f"  {' | '.join(repeated.key)}"), number(repeated.items), Text(members))
    return table


def _dead_letters(plan: Plan) -> Table:
    table = _table("\n  dead letters", "\nrule", "\nitems", "\nfor example", right=(2,))
    for name, rule in plan.tally.rules.items():
        for reason, count in rule.flaws.most_common():
            detail, key = rule.examples[reason][0]
            example = f"{detail} ({_row(key)})" if key else detail
            table.add_row(f"  {reason}", Text(name), number(count * plan.scale), Text(example))
    return table


def _row(source_key: object) -> str:
    assert hasattr(source_key, "items"), "a source key is a mapping"
    return ", ".join(f"{name}={value}" for name, value in source_key.items())


def _usd(dollars: float) -> str:
    return "under $0.01" if 0 < dollars < 0.01 else f"${dollars:,.2f}"
