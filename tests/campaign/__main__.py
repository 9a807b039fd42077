"""`python -m tests.campaign`: runs seeds, two at a time, and says what came of them.

Invariant: the servers that it starts end with it, also where it is told to end; a seed that failed leaves
its folder.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import mongod, servers
from tests.campaign.colliding import run_colliding
from tests.campaign.plan import Plan, plan_of
from tests.campaign.report import line, table
from tests.campaign.runner import Outcome, run_seed

EXIT_INTERRUPTED = 130


@contextmanager
def sources(folder: Path, plans: list[Plan]) -> Iterator[tuple[str, str]]:
    """Run the servers that the seeds need, and give their URLs."""
    with ExitStack() as stack:
        postgres = mongodb = ""
        if any(plan.source == "postgres" for plan in plans):
            postgres = stack.enter_context(servers.embedded_postgres(folder / "postgres"))
        if any(plan.source == "mongodb" for plan in plans):
            mongodb = stack.enter_context(mongod.mongod(folder / "mongodb"))
        yield postgres, mongodb


def one(plan: Plan, postgres: str, mongodb: str, folder: Path, told_to_end: threading.Event) -> Outcome:
    """Run a seed; whatever goes wrong is its failure, not the campaign's end."""
    try:
        outcome = run_seed(plan, postgres, mongodb, folder, told_to_end)
    except Exception:
        outcome = Outcome(plan, failures=[traceback.format_exc()])
    if not outcome.failures:
        shutil.rmtree(folder)
    return outcome


def run(plans: list[Plan], folder: Path, at_once: int) -> list[Outcome]:
    """Run all seeds; where a signal comes, end those that run, start no other and raise KeyboardInterrupt."""
    outcomes: list[Outcome] = []
    told_to_end = threading.Event()
    with sources(folder, plans) as (postgres, mongodb), ThreadPoolExecutor(at_once) as pool:
        try:
            waiting = [
                pool.submit(one, plan, postgres, mongodb, folder / f"seed-{plan.seed}", told_to_end)
                for plan in plans
            ]
            for future in as_completed(waiting):
                outcomes.append(future.result())
                print(line(outcomes[-1]), flush=True)
        except KeyboardInterrupt:
            told_to_end.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many, from --first on (20)")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seed", type=int, action="append", help="this one alone; may be given again")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument(
        "--keys", type=int, metavar="N", help="instead: N seeds, from --first on, of rows that make one key"
    )
    parser.add_argument("--plan", action="store_true", help="say what the seeds stand for, run nothing")
    chosen = parser.parse_args()
    if chosen.keys is not None:
        return min(1, run_colliding(chosen.seed or range(chosen.first, chosen.first + chosen.keys)))
    numbers = chosen.seed or range(chosen.first, chosen.first + chosen.seeds)
    plans = [plan_of(number) for number in numbers]
    if chosen.plan:
        print("\n".join(f"seed {plan.seed}: {plan.said}" for plan in plans))
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="bf-campaign-"))
    folder.chmod(0o755)
    try:
        outcomes = run(plans, folder, chosen.at_once)
    except KeyboardInterrupt:
        print(f"\ninterrupted; folders are in {folder}")
        return EXIT_INTERRUPTED
    print(table(sorted(outcomes, key=lambda outcome: outcome.plan.seed)))
    if not any(outcome.failures for outcome in outcomes):
        shutil.rmtree(folder)
        return 0
    print(f"\nfolders of the failed seeds are in {folder}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
