"""The engine against its peers, against its own cores, and against the size of the table.

Invariant: runs are interleaved, so that a slow minute of the machine falls on everybody; a figure is the
median of its runs, and all runs are kept beside it.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

from bench import contenders, measure, orders, servers

ENGINE = "backfill"
PERCENT = 100

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured. Units: rows, documents; `rounds` of everything; `log_seconds` of each rate."""

    engine_rows: int
    peer_rows: int
    growth_rows: Sequence[int]
    rounds: int
    trust_rows: int
    plan_rows: int
    log_rows: int
    log_seconds: int
    documents: int
    narrow_rows: int
    many_documents: int
    marks: int = 60_000


FULL = Sizes(
    engine_rows=1_000_000,
    peer_rows=50_000,
    growth_rows=(100_000, 1_000_000, 10_000_000),
    rounds=5,
    trust_rows=1_000_000,
    plan_rows=10_000_000,
    log_rows=5_000_000,
    log_seconds=30,
    documents=500_000,
    narrow_rows=50_000_000,
    many_documents=5_000_000,
)
USUAL = replace(
    FULL,
    peer_rows=20_000,
    growth_rows=(100_000, 1_000_000, 5_000_000),
    plan_rows=1_000_000,
    log_seconds=20,
    narrow_rows=5_000_000,
    many_documents=1_000_000,
)
QUICK = Sizes(
    engine_rows=100_000,
    peer_rows=2_000,
    growth_rows=(50_000, 100_000),
    rounds=1,
    trust_rows=20_000,
    plan_rows=50_000,
    log_rows=100_000,
    log_seconds=3,
    documents=20_000,
    narrow_rows=100_000,
    many_documents=20_000,
    marks=3_000,
)


@contextmanager
def table_of(server: str, rows: int) -> Iterator[str]:
    """Give a database with so many orders, on a running server, and take it away again."""
    name = f"orders_{rows}"
    servers.execute(server, f"CREATE DATABASE {name}")
    url = servers.database_url(server, name)
    asyncio.run(orders.fill(url, rows))
    try:
        yield url
    finally:
        servers.execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def peers(server: str, sizes: Sizes, tell: Tell) -> dict[str, Any]:
    """Measure the engine in one process, and every peer that runs here, in turns."""
    able, missing = contenders.ready(contenders.ALL, tell)
    runs: dict[str, list[measure.RunSample]] = {ENGINE: [], **{peer.name: [] for peer in able}}
    with table_of(server, sizes.engine_rows) as source:
        for _ in range(sizes.rounds):
            runs[ENGINE].append(measure.engine(source, sizes.engine_rows))
            tell(line("backfill, one process", runs[ENGINE][-1]))
            for peer in able:
                rows = sizes.engine_rows if peer.is_whole else sizes.peer_rows
                runs[peer.name].append(measure.peer(peer, source, rows))
                tell(line(peer.label, runs[peer.name][-1]))
    labels = {ENGINE: ("backfill, one process", "this commit")}
    labels |= {peer.name: (f"{peer.label}", f"{peer.package} {peer.version}") for peer in able}
    figures = {
        name: {"label": labels[name][0], "version": labels[name][1], **summary(samples)}
        for name, samples in runs.items()
    }
    own = figures[ENGINE]["median"]["cpu_us_per_item"]
    for figure in figures.values():
        figure["cpu_times_ours"] = round(figure["median"]["cpu_us_per_item"] / own, 1)
    return {"contenders": figures, "missing": missing}


def cores(server: str, sizes: Sizes, tell: Tell) -> dict[str, Any]:
    """Measure the engine with a worker per core, PostgreSQL and the null target beside it."""
    workers = max(2, _cores())
    with table_of(server, sizes.engine_rows) as source:
        samples = []
        for _ in range(sizes.rounds):
            samples.append(measure.engine(source, sizes.engine_rows, workers=workers))
            tell(line(f"backfill, {workers} workers", samples[-1]))
    return {"workers": workers, "cores": _cores(), **summary(samples)}


def growth(server: str, sizes: Sizes, tell: Tell) -> list[dict[str, Any]]:
    """Measure the engine in one process on tables of growing size; the largest only half as often."""
    found = []
    for rows in sizes.growth_rows:
        rounds = sizes.rounds if rows < max(sizes.growth_rows) else max(1, sizes.rounds // 2)
        with table_of(server, rows) as source:
            samples = []
            for _ in range(rounds):
                samples.append(measure.engine(source, rows))
                tell(line(f"{rows:,} rows", samples[-1]))
        found.append({"rows": rows, **summary(samples)})
    return found


def summary(samples: Sequence[measure.RunSample]) -> dict[str, Any]:
    """Return the medians, the spread of CPU per item in percent of its median, and every run."""
    middle = measure.middle(samples)
    costs = [sample.cpu_us_per_item for sample in samples]
    return {
        "median": _rounded(asdict(middle)),
        "spread_percent": round((max(costs) - min(costs)) / median(costs) * PERCENT, 1),
        "runs": [_rounded(asdict(sample)) for sample in samples],
    }


def line(label: str, sample: measure.RunSample) -> str:
    """Print one sample."""
    return (
        f"{label:32} {sample.rows:>10,} rows {sample.cpu_us_per_item:8.2f} µs CPU/item"
        f" {sample.peak_rss_mb:6.0f} MB {sample.items_per_s:>9,.0f} items/s"
    )


def _rounded(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()}


def _cores() -> int:
    from engine.environment import cores as usable

    return usable()
