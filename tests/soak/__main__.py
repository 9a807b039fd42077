"""`python -m tests.soak`: an application changes everything, a job goes by its log and is killed.

Invariant: the servers that it starts end with it; a seed that failed leaves its folder.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from bench import mongod
from tests.soak.course import Living, run_log_seed
from tests.soak.mongodb_orders import MongoOrders
from tests.soak.plan import LogPlan, log_plan_of
from tests.soak.postgres_orders import PostgresOrders
from tests.soak.runs import LogOutcome
from tests.support.own_postgres import embedded_binaries, own_postgres, system_binaries
from tests.support.pg import execute

SLOTTED = ("18", "15")
SERVERS = (*SLOTTED, "mongodb")
Source = Callable[[LogPlan], Living]


@contextmanager
def sources(server: str, folder: Path) -> Iterator[Source]:
    """Run a server, and give what makes a seed's source on it."""
    if server == "mongodb":
        with mongod.mongod(folder / "mongodb") as url:
            yield lambda plan: MongoOrders(plan, url)
        return
    binaries, user = (embedded_binaries(), "pgserver") if server == "18" else (system_binaries(), "postgres")
    assert binaries is not None, "no PostgreSQL of the system's own is here"
    with own_postgres(binaries, user, "wal_level=logical", "max_replication_slots=30") as postgres:

        def living(plan: LogPlan) -> Living:
            name = f"soak_{plan.seed}"
            asyncio.run(execute(postgres.url(), f"CREATE DATABASE {name}"))
            return PostgresOrders(plan, postgres.url(database=name))

        yield living


def one(plan: LogPlan, source: Source, folder: Path) -> LogOutcome:
    """Run a seed; whatever goes wrong is its failure, not the soak's end."""
    try:
        outcome = run_log_seed(plan, source(plan), folder)
    except Exception:
        outcome = LogOutcome(plan, failures=[traceback.format_exc()])
    if not outcome.failures:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many, from --first on (20)")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seed", type=int, action="append", help="this one alone; may be given again")
    parser.add_argument("--on", choices=SERVERS, action="append", help="the server; may be given again (all)")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument(
        "--several",
        action="store_true",
        help="files of two or three jobs that share a slot: PostgreSQL alone",
    )
    parser.add_argument("--quick", action="store_true", help="small seeds, as `make test` has them")
    chosen = parser.parse_args()
    if chosen.several and "mongodb" in (chosen.on or ()):
        parser.error("--several is about slots, which MongoDB hasn't got")
    numbers: Sequence[int] = chosen.seed or range(chosen.first, chosen.first + chosen.seeds)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ.setdefault(name, "local")
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    folder = Path(tempfile.mkdtemp(prefix="bf-soak-"))
    folder.chmod(0o755)
    failed = 0
    for server in chosen.on or (SLOTTED if chosen.several else SERVERS):
        with sources(server, folder) as source, ThreadPoolExecutor(chosen.at_once) as pool:
            plans = [
                log_plan_of(number, server, quick=chosen.quick, several=chosen.several) for number in numbers
            ]
            waiting = [pool.submit(one, plan, source, folder / f"{server}-{plan.seed}") for plan in plans]
            for future in as_completed(waiting):
                outcome = future.result()
                failed += bool(outcome.failures)
                print(outcome.line, flush=True)
        print(f"{server}: {len(plans)} seeds, {failed} failed", flush=True)
    if failed:
        print(f"folders of the failed seeds are in {folder}")
    else:
        shutil.rmtree(folder)
    return min(1, failed)


if __name__ == "__main__":
    sys.exit(main())
