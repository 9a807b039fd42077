"""What a job's stages took, as rows of a table, as JSON, and as one sentence on the bottleneck. Pure.

Invariant: a stage's own share is the difference between two paths that were measured, never an estimate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.stages import Figures, Stage

NAMES: Mapping[str, str] = {
    "read": "read only",
    "transform": "+ transform",
    "encode": "+ encode",
    "write": "write alone",
    "whole": "whole",
}

BUSY_SHARE = 0.8
"""A process that uses so much of a core is held up by itself: its event loop has one."""
SOURCE_SHARE = 0.8
"""The source is the bottleneck when the whole is about as fast as reading alone."""
THROTTLED_SHARE = 0.005
PACED_SHARE = 0.8
"""A job that spends so much of what the target was found to take is held up by it, throttled or not."""


@dataclass(frozen=True, slots=True)
class StageCost:
    """One stage for people. Units: items and bytes, microseconds of CPU, MB of 10^6 bytes."""

    name: str
    items_per_s: float
    cpu_us_per_item: float
    bytes_per_item: float
    peak_rss_mb: float


def lines(found: "Mapping[Stage, Figures]") -> list[StageCost]:
    """Return a line per stage; stages before encoding count the items that their rows become."""
    encoded = found["encode"]
    per_row = encoded.items / encoded.rows if encoded.rows else 0.0
    told = []
    for stage, each in found.items():
        items = max(1.0, each.items or each.rows * per_row)
        told.append(
            StageCost(
                name=NAMES[stage],
                items_per_s=items / each.elapsed_s,
                cpu_us_per_item=each.cpu_s / items * 1e6,
                bytes_per_item=each.payload_bytes / items,
                peak_rss_mb=each.peak_rss_bytes / 1e6,
            )
        )
    return told


def shares(told: Sequence[StageCost]) -> dict[str, float]:
    """Return the CPU per item that each stage itself takes; `rest` is what ties them together."""
    cost = {line.name: line.cpu_us_per_item for line in told}
    read, transform, encode = (cost[NAMES[name]] for name in ("read", "transform", "encode"))
    write, whole = cost[NAMES["write"]], cost[NAMES["whole"]]
    return {
        "read": read,
        "transform": max(0.0, transform - read),
        "encode": max(0.0, encode - transform),
        "write": write,
        "rest": max(0.0, whole - encode - write),
    }


def bottleneck(found: "Mapping[Stage, Figures]", cores: int) -> str:
    """Say in one sentence what holds the job up."""
    whole = found["whole"]
    told = {line.name: line for line in lines(found)}
    rate = told[NAMES["whole"]].items_per_s
    if whole.items == 0:
        return "No row becomes an item, so there is nothing to be fast at: look at `when` and the source."
    paced = whole.limit_wcu is not None and whole.wcu / whole.elapsed_s >= PACED_SHARE * whole.limit_wcu
    if paced or (whole.requests and whole.throttled / whole.requests > THROTTLED_SHARE):
        limit = f" at about {whole.limit_wcu:,.0f} write units a second" if whole.limit_wcu else ""
        return (
            f"The target's capacity is the bottleneck: it holds the job to {rate:,.0f} items/s{limit}"
            f" ({whole.throttled:,} of {whole.requests:,} requests were throttled)."
        )
    busy = whole.cpu_s / whole.elapsed_s
    own = shares(list(told.values()))
    heaviest = max(own, key=own.__getitem__)
    if busy >= BUSY_SHARE:
        more = f"; {cores} processes (--workers {cores}) share it here" if cores > 1 else ""
        return (
            f"The engine's own CPU is the bottleneck: it is busy for {busy:.0%} of the time, and most"
            f" of that, {own[heaviest]:.1f} µs an item, goes into {_doing(heaviest)}{more}."
        )
    if rate >= SOURCE_SHARE * told[NAMES["read"]].items_per_s:
        return (
            f"The source is the bottleneck: reading alone gives"
            f" {told[NAMES['read']].items_per_s:,.0f} items/s, and the whole path {rate:,.0f}."
        )
    slow = f" (p50 {whole.latency_p50_s * 1e3:.0f} ms)" if whole.latency_p50_s else ""
    return (
        f"Waiting for the target's answers is the bottleneck{slow}: the whole path gives {rate:,.0f} items/s"
        f" with the processor busy for {busy:.0%} of the time."
    )


def text(found: "Mapping[Stage, Figures]", target: str, cores: int) -> str:
    """Lay everything out for a terminal."""
    told = lines(found)
    head = f"{'stage':14}{'items/s':>12}{'µs CPU/item':>13}{'bytes/item':>12}{'peak MB':>9}"
    table = [
        f"{line.name:14}{line.items_per_s:>12,.0f}{line.cpu_us_per_item:>13.2f}{line.bytes_per_item:>12,.0f}"
        f"{line.peak_rss_mb:>9,.0f}"
        for line in told
    ]
    own = shares(told)
    total = sum(own.values()) or 1.0
    spent = ", ".join(f"{name} {cost:.1f} µs ({cost / total:.0%})" for name, cost in own.items())
    whole = found["whole"]
    return "\n".join(
        [
            f"{whole.rows:,} rows, one process, target: {target}",
            "",
            head,
            *table,
            "",
            f"CPU of an item: {spent}",
            bottleneck(found, cores),
        ]
    )


def as_json(found: "Mapping[Stage, Figures]", target: str, cores: int) -> dict[str, Any]:
    """Return the same as one object."""
    told = lines(found)
    stages = {
        stage: {
            "rows": each.rows,
            "items": each.items,
            "items_per_s": round(line.items_per_s, 1),
            "cpu_us_per_item": round(line.cpu_us_per_item, 3),
            "bytes_per_item": round(line.bytes_per_item, 1),
            "peak_rss_mb": round(line.peak_rss_mb, 1),
            "requests": each.requests,
            "requests_throttled": each.throttled,
        }
        for (stage, each), line in zip(found.items(), told, strict=True)
    }
    return {
        "target": target,
        "stages": stages,
        "cpu_us_by_stage": {name: round(cost, 3) for name, cost in shares(told).items()},
        "bottleneck": bottleneck(found, cores),
    }


def _doing(stage: str) -> str:
    return {
        "read": "reading rows",
        "transform": "the item rules",
        "encode": "encoding",
        "write": "sending requests",
        "rest": "carrying batches from stage to stage",
    }[stage]
