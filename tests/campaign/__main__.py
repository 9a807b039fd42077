"""`python -m tests.campaign`: runs seeds, two at a time, and says what came of them.

Invariant: the servers that it starts end with it; a seed that failed leaves its folder.
"""

import argparse
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import mongod, servers
from tests.campaign.plan import Plan, plan_of
from tests.campaign.report import line, table
from tests.campaign.runner import Outcome, run_seed


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


def one(plan: Plan, postgres: str, mongodb: str, folder: Path) -> Outcome:
    """Run a seed; whatever goes wrong is its failure, not the campaign's end."""
    try:
        outcome = run_seed(plan, postgres, mongodb, folder)
    except Exception:
        outcome = Outcome(plan, failures=[traceback.format_exc()])
    if not outcome.failures:
        shutil.rmtree(folder)
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many, from --first on (20)")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seed", type=int, action="append", help="this one alone; may be given again")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--plan", action="store_true", help="say what the seeds stand for, run nothing")
    chosen = parser.parse_args()
    numbers = chosen.seed or range(chosen.first, chosen.first + chosen.seeds)
    plans = [plan_of(number) for number in numbers]
    if chosen.plan:
        print("\n".join(f"seed {plan.seed}: {plan.said}" for plan in plans))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="bf-campaign-"))
    folder.chmod(0o755)
    outcomes = []
    with sources(folder, plans) as (postgres, mongodb), ThreadPoolExecutor(chosen.at_once) as pool:
        waiting = [pool.submit(one, plan, postgres, mongodb, folder / f"seed-{plan.seed}") for plan in plans]
        for future in as_completed(waiting):
            outcomes.append(future.result())
            print(line(outcomes[-1]), flush=True)
    print(table(sorted(outcomes, key=lambda outcome: outcome.plan.seed)))
    if not any(outcome.failures for outcome in outcomes):
        shutil.rmtree(folder)
        return 0
    print(f"\nfolders of the failed seeds are in {folder}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
