"""The results as SVG plots.

Invariant: what isn't in the results isn't drawn; the same results give the same files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

OURS, OTHERS, OFFERED, TROUBLE = "#c2410c", "#64748b", "#94a3b8", "#dc2626"
FONT = 10


def draw(results: Mapping[str, Any], out: Path) -> None:
    """Draw every plot for which there are results."""
    import matplotlib as mpl

    mpl.use("svg")
    settings: Any = {
        "svg.hashsalt": "backfill",
        "svg.fonttype": "path",
        "font.size": FONT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.facecolor": "white",
    }
    with mpl.rc_context(settings):
        if "peers" in results:
            _peers(results["peers"]["contenders"], out)
        if "growth" in results:
            _growth(results["growth"], out)
        for name, scenario in results.get("throttle", {}).items():
            _scenario(name, scenario, out)


def _peers(contenders: Mapping[str, Any], out: Path) -> None:
    """Draw CPU per item as bars."""
    from matplotlib import pyplot

    found = sorted(contenders.values(), key=lambda each: -each["median"]["cpu_us_per_item"])
    figure, axes = pyplot.subplots(figsize=(8, 3.2), layout="constrained")
    costs = [each["median"]["cpu_us_per_item"] for each in found]
    labels = [each["label"] for each in found]
    colours = [OURS if each is contenders["backfill"] else OTHERS for each in found]
    runs = [[run["cpu_us_per_item"] for run in each["runs"]] for each in found]
    low = [cost - min(each) for cost, each in zip(costs, runs, strict=True)]
    high = [max(each) - cost for cost, each in zip(costs, runs, strict=True)]
    axes.barh(labels, costs, color=colours, xerr=[low, high], error_kw={"lw": 1, "capsize": 2})
    for place, (cost, each) in enumerate(zip(costs, found, strict=True)):
        times = each["cpu_times_ours"]
        note = f"  {cost:,.1f} µs" + ("" if times == 1 else f"  ({times:,.0f} times ours)")
        axes.text(high[place] + cost, place, note, va="center")
    axes.set_xlim(0, max(costs) * 1.45)
    axes.set_xlabel("CPU per item, µs: the median, and the least and the most of all runs")
    figure.suptitle("PostgreSQL to a null target: items of 15 attributes, 500 bytes", x=0.01, ha="left")
    _save(figure, out / "peers.svg")


def _growth(sizes: Any, out: Path) -> None:
    """Draw CPU per item and peak memory over the size of the table."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 3), layout="constrained")
    rows = [each["rows"] for each in sizes]
    panels = (
        (left, "cpu_us_per_item", 8, "CPU per item, µs"),
        (right, "peak_rss_mb", 300, "peak memory, MB"),
    )
    for axes, name, goal, label in panels:
        for each in sizes:
            runs = [run[name] for run in each["runs"]]
            axes.plot([each["rows"]] * len(runs), runs, "o", color=OTHERS, markersize=3)
        axes.plot(rows, [each["median"][name] for each in sizes], "o-", color=OURS)
        axes.axhline(goal, color=OFFERED, linestyle="--", linewidth=1)
        axes.text(rows[0], goal, f"goal {goal}", color=OTHERS, va="bottom")
        axes.set_xscale("log")
        axes.set_xticks(rows, [f"{count:,}" for count in rows])
        axes.minorticks_off()
        axes.set_ylim(0, axes.get_ylim()[1] * 1.15)
        axes.set_xlabel("rows")
        axes.set_title(label, loc="left")
    _save(figure, out / "growth.svg")


def _scenario(name: str, scenario: Mapping[str, Any], out: Path) -> None:
    """Draw what was offered, used and throttled in each second."""
    from matplotlib import pyplot

    seconds = scenario["seconds"]
    at = [each["second"] for each in seconds]
    figure, axes = pyplot.subplots(figsize=(8, 2.8), layout="constrained")
    offered = [each["offered"] for each in seconds]
    axes.step(at, offered, where="post", color=OFFERED, linewidth=2, label=scenario["offered_label"])
    axes.step(at, [each["used"] for each in seconds], where="post", color=OURS, label="used")
    throttled = [each["throttled"] for each in seconds]
    axes.bar(at, throttled, width=1, align="edge", color=TROUBLE, alpha=0.6, label="asked for in vain")
    if any("others" in each for each in seconds):
        axes.step(at, [each["others"] for each in seconds], where="post", color=OTHERS, label="other keys")
    axes.set_ylim(0, max(*offered, *(each["used"] for each in seconds)) * 1.15)
    axes.set_xlabel("seconds")
    axes.set_ylabel("write units per second")
    axes.set_title(scenario["title"], loc="left")
    axes.legend(loc="lower right", frameon=False, ncols=4, fontsize=8)
    _save(figure, out / f"throttle-{name.replace(' ', '-')}.svg")


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    figure.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
