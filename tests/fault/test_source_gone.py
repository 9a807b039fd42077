"""A source that crashes or cuts its sessions: the run waits or stops resumable, and ends whole."""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import loads
from tests.support.own_postgres import OwnPostgres, embedded_binaries, own_postgres
from tests.support.paced_load import GOES_ON_WCU, TABLE, Load, load_of
from tests.support.pg import execute

pytestmark = pytest.mark.fault


@pytest.fixture
def own_source(postgres_server: str) -> Iterator[OwnPostgres]:
    with own_postgres(embedded_binaries(), "pgserver") as server:
        asyncio.run(execute(server.url(), *TABLE))
        yield server


def test_a_source_that_crashes_and_starts_again_loses_and_skips_no_row(
    own_source: OwnPostgres, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    load = load_of(tmp_path, own_source.url(), dynoxide, table_name, max_wcu=GOES_ON_WCU)
    load.command.job["source"]["segments"] = 40
    process = load.begin("--workers", "2")
    own_source.stop(signal.SIGQUIT)
    time.sleep(1)
    own_source.start()
    ended = load.end(process)
    load.assert_whole(ended, resumed=False)
    assert "snapshot is gone" in ended.stderr


def test_ctrl_c_while_the_source_is_gone_ends_soon_and_clean(
    own_source: OwnPostgres, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    load = load_of(tmp_path, own_source.url(), dynoxide, table_name)
    load.command.job["source"]["segments"] = 40
    process = load.begin("--workers", "1")
    own_source.stop()
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    ended = load.end(process)
    assert ended.code == 130, ended.stderr
    loads.assert_balanced(ended.report)
    own_source.start()
    load.assert_whole(load.resume(), resumed=True)


def test_sessions_that_an_administrator_ends_are_opened_again(load: Load) -> None:
    load.command.job["target"]["max_wcu"] = GOES_ON_WCU
    process = load.begin("--workers", "2")
    for _ in range(3):
        asyncio.run(
            execute(
                load.command.job["source"]["url"],
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'backfill' AND datname = current_database()",
            )
        )
        time.sleep(0.3)
    load.assert_whole(load.end(process), resumed=False)
