"""`make bench`: every benchmark, its results as JSON and plots, and the goals beside what was measured.

Invariant: each part of the results says by itself when, where and by which command it was measured, so that
one part can be measured anew without the others.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench import (
    compare,
    coordinating,
    documents,
    following,
    goals,
    large_loads,
    machine,
    plots,
    servers,
    shapes,
    short_loads,
    throttling,
    trust,
    write_stage,
)
from engine.environment import tune

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks"
RESULTS = "results.json"
REASONS = "misses.json"
"""Why a goal is missed, in a sentence each, by what the goal is about: written by who has looked."""

Part = Callable[[str, compare.Sizes, compare.Tell], Any]

PARTS: Mapping[str, Part] = {
    "peers": compare.peers,
    "cores": compare.cores,
    "growth": compare.growth,
    "write": write_stage.requests,
    "short": short_loads.run,
    "documents": documents.run,
    "shapes": shapes.run,
    "large": large_loads.run,
    "throttle": throttling.run,
    "trust": trust.run,
    "log": following.run,
    "coordinator": coordinating.run,
}


def main() -> None:
    """Measure what is asked for, and print the goals."""
    arguments = _arguments()
    tune()
    sizes = compare.QUICK if arguments.quick else compare.FULL if arguments.full else compare.USUAL
    out: Path | None = arguments.out or (None if arguments.quick else DOCS)
    results = _known(out)
    with tempfile.TemporaryDirectory(prefix="backfill-bench-") as folder:
        Path(folder).chmod(0o755)  # the embedded PostgreSQL runs as a user of its own where we are root
        with servers.embedded_postgres(Path(folder) / "postgres") as server:
            for name in arguments.only or PARTS:
                _tell(f"-- {name}")
                about = machine.about(" ".join(["python -m bench.suite", *sys.argv[1:]]))
                results[name] = PARTS[name](server, sizes, _tell)
                results.setdefault("about", {})[name] = about
                if out is not None:
                    _write(results, out)
    rows = goals.table(results)
    print(goals.text(rows))
    for name, why in results.get("peers", {}).get("missing", {}).items():
        print(f"{name} was left out: {why}")
    if out is not None:
        (out / "goals.md").write_text(goals.markdown(rows, _read(out / REASONS)) + "\n", encoding="utf-8")
        if "shapes" in results:
            (out / "shapes.md").write_text(shapes.markdown(results["shapes"]) + "\n", encoding="utf-8")
        plots.draw(results, out)
        print(f"results and plots: {out}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.suite", description="Measure backfill.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small and once, to see that it works")
    size.add_argument("--full", action="store_true", help="10 and 50 million rows too; an hour and more")
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--out", type=Path, help="where results go; default: docs/benchmarks, quick: nowhere")
    return parser.parse_args()


def _known(out: Path | None) -> dict[str, Any]:
    """Return the results that are there: those of parts not measured now stay."""
    return {} if out is None else _read(out / RESULTS)


def _read(file: Path) -> dict[str, Any]:
    known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return known


def _write(results: Mapping[str, Any], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / RESULTS).write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
