"""A verification that is stopped goes on; a redrive that is stopped has lost nothing."""

import asyncio

import pytest

from bench import servers
from connectors.dynamodb.reading import reader as readers
from connectors.dynamodb.target import TableTarget
from engine.commands.verify import recheck, source_pass, target_pass
from engine.errors import PermanentError
from tests.integration.test_redrive import ROWS as PEOPLE
from tests.integration.test_redrive import job as people_job
from tests.integration.test_verify import ROWS, Loaded, counts
from tests.support.command import Command


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    monkeypatch.setattr(recheck, "PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(source_pass, "READ_RECORDS", 100)
    monkeypatch.setattr(source_pass, "SEGMENT_ROWS", 250)
    for module in (source_pass, target_pass):
        monkeypatch.setattr(module, "COMMIT_S", 0.0)


@pytest.mark.parametrize("passes", [1, 3, 6])
def test_a_verification_that_failed_goes_on_and_finds_the_same(
    tmp_path, postgres_url, dynoxide, table_name, monkeypatch, passes
):
    servers.execute(postgres_url, ROWS)
    loaded = Loaded(tmp_path, postgres_url, dynoxide, table_name)
    loaded.command.job["source"]["batch_rows"] = 100
    loaded.run()
    loaded.set(7, email={"S": "changed"})
    loaded.delete(9)
    loaded.put("ORDER#777777", email={"S": "no row"})
    scan, make_now = readers.TableReader.scan, source_pass.OpenedJob.make_now
    left = [passes]

    def used_up():
        left[0] -= 1
        if left[0] < 0:
            raise PermanentError("stopped here")

    async def scanned(self, *arguments, **options):
        async for page in scan(self, *arguments, limit=200):
            used_up()
            yield page

    def looked(self, batch):
        used_up()
        return make_now(self, batch)

    monkeypatch.setattr(readers.TableReader, "scan", scanned)
    monkeypatch.setattr(source_pass.OpenedJob, "make_now", looked)
    stops = 0
    while True:
        left[0] = passes * 4
        ended = loaded.command.here("verify", "--full", "--read", "scan", "--json")
        if ended.code == 4:
            break
        assert ended.code == 1, ended.stderr
        assert "stopped here" in ended.stderr
        stops += 1
        assert stops < 60
    assert stops > 0
    assert counts(ended.report) == (1998, 1, 1, 1)
    assert "going on with the verification" in ended.stderr
    assert not (loaded.command.state / "orders" / "verify").exists()


def test_a_redrive_that_fails_leaves_every_letter(tmp_path, postgres_url, dynoxide, table_name, monkeypatch):
    servers.execute(postgres_url, PEOPLE)
    command = Command(tmp_path, people_job(postgres_url, dynoxide, table_name, {"type": "sqlite"}))
    assert command.here("table create").code == 0
    assert command.here("run", "--workers", "1").code == 3
    before = command.dead_letters()
    servers.execute(postgres_url, "UPDATE people SET email = 'x'")
    write = TableTarget.write

    async def written_and_lost(self, encoded):
        await write(self, encoded)
        await asyncio.sleep(0)
        raise PermanentError("the network is gone")

    monkeypatch.setattr(TableTarget, "write", written_and_lost)
    assert command.here("redrive").code == 1
    assert command.dead_letters() == before
    monkeypatch.setattr(TableTarget, "write", write)
    assert command.here("redrive", "--json").report["settled"] == 10
    assert command.dead_letters() == []
