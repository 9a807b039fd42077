"""What a request costs: prepared items written to the null target, without TLS and with it."""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from bench import compare, orders, servers
from bench.tls_null import tls_null_target
from engine.errors import JobError


def requests(server: str, sizes: compare.Sizes, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure the write stage alone."""
    # Here, not above: the processes that are measured inherit this one's peak memory.
    from bench.simulator.null import table_description
    from bench.stages import Figures, measure
    from connectors.dynamodb.table_info import table_info
    from engine.job.model import Job

    context = {"directory": Path.cwd()}
    table = table_info(table_description(orders.TABLE))
    found: dict[str, Any] = {}
    with compare.table_of(server, sizes.engine_rows // 4) as source:
        for name, target in (("plain", servers.null_target), ("tls", tls_null_target)):
            runs: list[Figures] = []
            try:
                for _ in range(sizes.rounds):
                    with target() as endpoint:
                        job = Job.model_validate(orders.job(source, endpoint), context=context)
                        runs.append(measure("write", job, table, sizes.engine_rows))
                    each = runs[-1]
                    tell(f"write alone, {name}: {each.cpu_s / each.requests * 1e6:.0f} µs CPU a request")
            except JobError as error:
                tell(f"write alone, {name}: left out: {error}")
                continue
            costs = [run.cpu_s / run.requests * 1e6 for run in runs]
            found[name] = {
                "cpu_us_per_request": round(median(costs), 1),
                "spread_percent": round((max(costs) - min(costs)) / median(costs) * 100, 1),
                "requests": runs[0].requests,
                "requests_per_s": round(median(run.requests / run.elapsed_s for run in runs)),
            }
    return found
