"""A target that isn't the one that the run began with: the run says so, and never calls itself complete."""

import asyncio
from pathlib import Path

import pytest

from tests.support import loads, wire_scan
from tests.support.paced_load import TABLE, Load, OwnTarget, load_of
from tests.support.pg import execute
from tests.support.switch_proxy import SwitchProxy

pytestmark = pytest.mark.fault


def test_a_table_that_is_deleted_and_made_again(load: Load) -> None:
    target = load.command.job["target"]
    process = load.begin("--workers", "2")
    loads.client(target["endpoint_url"]).delete_table(TableName=target["table"])
    loads.create_table(target["endpoint_url"], target["table"])
    ended = load.end(process)
    assert ended.code == 1, ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert target["table"] in last
    assert "was replaced" in last or "isn't there any more" in last, last
    assert (ended.report["outcome"], load.status()["outcome"]) == ("failed", "failed")
    loads.assert_balanced(ended.report)
    again = load.resume()
    assert again.code == 2, again.stderr
    assert "--fresh" in again.stderr
    fresh = load.command.here("run", "--json", "--workers", "1", "--fresh")
    load.assert_whole(fresh, resumed=False)


def test_another_server_behind_the_address_gets_nothing_and_hides_nothing(
    postgres_url: str, dynoxide: str, own_target: OwnTarget, table_name: str, tmp_path: Path
) -> None:
    """There and back again: what was written meanwhile must not be missed in the first one."""
    asyncio.run(execute(postgres_url, *TABLE))
    loads.create_table(own_target.endpoint, table_name)
    with SwitchProxy(dynoxide) as proxy:
        load = load_of(tmp_path, postgres_url, proxy.endpoint, table_name)
        process = load.begin("--workers", "2")
        proxy.switch(own_target.endpoint)
        ended = load.end(process)
        assert ended.code == 1, ended.stderr
        assert "was replaced" in ended.stderr.splitlines()[-1]
        assert wire_scan.scan(own_target.endpoint, table_name) == {}
        proxy.switch(dynoxide)
        load.assert_whole(load.resume(), resumed=True)
