"""A target that is gone, throttles or fails: the run waits or stops resumable, and ends whole."""

import asyncio
import re
import sys
import urllib.request
from pathlib import Path

import pytest

from bench import servers
from tests.support import loads
from tests.support.paced_load import GOES_ON_WCU, TABLE, OwnTarget, load_of
from tests.support.pg import execute

pytestmark = pytest.mark.fault


def test_a_target_that_is_gone_for_seconds_is_waited_for(
    postgres_url: str, own_target: OwnTarget, table_name: str, tmp_path: Path
) -> None:
    asyncio.run(execute(postgres_url, *TABLE))
    load = load_of(tmp_path, postgres_url, own_target.endpoint, table_name, max_wcu=GOES_ON_WCU)
    process = load.begin("--workers", "2")
    own_target.kill()
    load.wait_said(process, "can't be reached")
    own_target.start()
    ended = load.end(process)
    load.assert_whole(ended, resumed=False)
    assert "is back" in ended.stderr


def test_a_target_that_stays_away_ends_the_run_which_then_goes_on(
    postgres_url: str, own_target: OwnTarget, table_name: str, tmp_path: Path
) -> None:
    asyncio.run(execute(postgres_url, *TABLE))
    load = load_of(tmp_path, postgres_url, own_target.endpoint, table_name, give_up_after_s=1.5)
    process = load.begin("--workers", "2")
    own_target.kill()
    ended = load.end(process)
    assert ended.code == 1, ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert re.search(r"error: .*was away for 1.5 s \(target.give_up_after_s\).*run again", last), last
    assert (ended.report["outcome"], load.status()["outcome"]) == ("failed", "failed")
    loads.assert_balanced(ended.report)
    own_target.start()
    load.assert_whole(load.resume(), resumed=True)


FAULTS = {
    "500": 0.05, "503": 0.05, "reset_before": 0.03, "reset_after": 0.03, "truncated": 0.03,
    "unprocessed": 0.01,
}  # fmt: skip


@pytest.mark.parametrize(
    "how",
    [
        ["--wcu=400", "--burst-s=0"],
        ["--unlimited", *(f"--fault={fault}={rate}" for fault, rate in FAULTS.items())],
    ],
    ids=["throttles", "fails"],
)
def test_a_target_that_throttles_or_fails_loses_nothing(
    postgres_url: str, table_name: str, tmp_path: Path, how: list[str]
) -> None:
    asyncio.run(execute(postgres_url, *TABLE))
    port = servers.free_port()
    command = [sys.executable, "-m", "engine", "simulator", "--port", str(port), *how]
    with servers.running(command, port=port):
        load = load_of(tmp_path, postgres_url, f"http://127.0.0.1:{port}", table_name)
        del load.command.job["target"]["max_wcu"]
        ended = load.command.here("run", "--json", "--workers", "1")
        heal = urllib.request.Request(f"http://127.0.0.1:{port}/_control/faults", b'{"rates": {}}')
        urllib.request.urlopen(heal, timeout=10).close()
        load.assert_whole(ended, resumed=False)
        report = ended.report
        assert report["items_unprocessed"] > 0
        assert report["retries"] > 0
