"""Loads that are over soon, with default options: none of any row, of 20,000 rows, of 200,000.

Invariant: a figure is that of the whole process, start-up and all; what its imports cost is measured by a
process that does nothing else.
"""

from functools import partial
from statistics import median
from typing import Any

from bench import compare, contenders, measure, orders

SHORT_ROWS, LONGER_ROWS = 20_000, 200_000


def run(server: str, sizes: compare.Sizes, tell: compare.Tell) -> dict[str, Any]:
    """Measure them in rounds, ingestr beside the longer one where it can be had."""
    able, missing = contenders.ready([contenders.INGESTR], tell)
    starts: list[measure.StartSample] = []
    short: list[measure.RunSample] = []
    longer: list[measure.RunSample] = []
    others: list[measure.RunSample] = []
    with (
        compare.table_of(server, 0) as empty,
        compare.table_of(server, SHORT_ROWS) as few,
        compare.table_of(server, LONGER_ROWS) as more,
    ):
        for _ in range(sizes.rounds):
            starts.append(measure.start(partial(orders.job, empty)))
            tell(f"no rows: {starts[-1].run_cpu_s:.2f} s of CPU, imports {starts[-1].imports_cpu_s:.2f} s")
            short.append(measure.engine(few, SHORT_ROWS, workers=None))
            tell(compare.line("default options", short[-1]))
            longer.append(measure.engine(more, LONGER_ROWS, workers=None))
            tell(compare.line("default options", longer[-1]))
            for peer in able:
                others.append(measure.peer(peer, more, LONGER_ROWS))
                tell(compare.line(peer.label, others[-1]))
    found: dict[str, Any] = {
        "empty": {
            "run_cpu_s": round(median(each.run_cpu_s for each in starts), 3),
            "imports_cpu_s": round(median(each.imports_cpu_s for each in starts), 3),
            "peak_rss_mb": round(median(each.peak_rss_mb for each in starts), 1),
        },
        "short": {"rows": SHORT_ROWS, **compare.summary(short)},
        "longer": {"rows": LONGER_ROWS, **compare.summary(longer)},
        "missing": missing,
    }
    if others:
        found["ingestr"] = compare.summary(others)
    return found
