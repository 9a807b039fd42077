"""verify --full over several processes finds what one finds, whichever dies, and goes on where it was."""

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from bench import servers
from engine.commands import helpers
from engine.commands.helpers import Helpers
from engine.commands.verify import recheck, source_pass, target_pass
from engine.commands.verify.narrator import Narrator
from engine.commands.verify.orders import ReadOrder, ScanOrder, ShareOrder
from engine.commands.verify.source_pass import SourcePass
from engine.errors import PermanentError
from tests.integration.test_verify import ROWS, Loaded
from tests.support.helped import asked_of_all
from tests.support.stopped import sleepers

FOUND = (
    "matched",
    "mismatched",
    "missing",
    "extra",
    "not_ours",
    "dead_lettered",
    "looked_again",
    "rows_read",
)


@pytest.fixture(autouse=True)
def many_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recheck, "PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(source_pass, "SEGMENT_ROWS", 100)
    monkeypatch.setattr(source_pass, "COMMIT_S", -1.0)


@pytest.fixture
def damaged(tmp_path, postgres_url, dynoxide, table_name) -> Loaded:
    servers.execute(postgres_url, ROWS)
    loaded = Loaded(tmp_path, postgres_url, dynoxide, table_name).run()
    loaded.damage()
    return loaded


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    return asked_of_all(monkeypatch, source_pass, target_pass)


def told(report: dict[str, Any]) -> tuple[Any, ...]:
    differences = sorted(report["differences"], key=lambda each: str(each["key"]))
    return *(report[name] for name in FOUND), differences


def test_two_processes_find_what_one_finds(damaged: Loaded, asked: list[Any]) -> None:
    one = damaged.verify("--full", "--workers", "1", code=4)
    assert not asked
    two = damaged.verify("--full", "--workers", "2", "--max-rcu", "100000", code=4)
    assert told(two) == told(one)
    assert told(one)[:4] == (1993, 3, 3, 2)
    assert {type(order) for order in asked} == {ReadOrder, ScanOrder, ShareOrder}
    assert two["consumed_rcu"] == pytest.approx(one["consumed_rcu"], rel=0.1)
    assert two["cpu_s"] > 0
    assert list(damaged.command.state.glob("*/verify")) == []


@pytest.mark.parametrize("of", [ReadOrder, ScanOrder])
def test_a_helper_that_dies_costs_its_part_only(
    damaged: Loaded, asked: list[Any], of: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = helpers.Helper.ask

    async def killed(self, order):
        if isinstance(order, of):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        return await ask(self, order)

    monkeypatch.setattr(helpers.Helper, "ask", killed)
    report = damaged.verify("--full", "--workers", "2", code=4)
    assert told(report)[:4] == (1993, 3, 3, 2)
    assert report["rows_read"] == 2000
    assert any("a helper process died" in notice for notice in report["notices"])


@pytest.mark.parametrize("of", [ReadOrder, ScanOrder])
def test_a_helper_that_is_stopped_is_told_of_and_does_its_part_when_it_wakes(
    damaged: Loaded, asked: list[Any], of: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = helpers.Helper.ask
    with sleepers(monkeypatch) as sleeping:

        async def stopped(self, order):
            if isinstance(order, of):
                sleeping.stop(self.pid)
            return await ask(self, order)

        monkeypatch.setattr(helpers.Helper, "ask", stopped)
        monkeypatch.setattr(Narrator, "notice", sleeping.hearing(Narrator.notice))
        report = damaged.verify("--full", "--workers", "2", code=4)
    assert told(report)[:4] == (1993, 3, 3, 2)
    (pid,) = sleeping.stopped
    assert any(f"process {pid} has said nothing for" in text for text in report["notices"])


def test_what_two_have_begun_is_gone_on_with(
    damaged: Loaded, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, keep = list[int](), SourcePass._keep

    def stopped(self, order, found):
        if len(kept) == 7:
            raise PermanentError("it stops here")
        kept.append(order.state.segment.number)
        return keep(self, order, found)

    monkeypatch.setattr(SourcePass, "_keep", stopped)
    ended = damaged.command.here("verify", "--full", "--json", "--workers", "2")
    assert "it stops here" in ended.report["error"]
    read: list[int] = []

    def counted(self, order, found):
        read.append(order.state.segment.number)
        return keep(self, order, found)

    monkeypatch.setattr(SourcePass, "_keep", counted)
    report = damaged.verify("--full", "--workers", "2", code=4)
    assert told(report)[:4] == (1993, 3, 3, 2)
    assert report["rows_read"] == 2000
    assert any("going on with the verification that was begun at 20" in text for text in report["notices"])
    assert read
    assert not {*read} & {*kept}, "what was kept isn't read again"


@pytest.mark.parametrize("mode", ["put", "newer"])
def test_of_several_rows_with_one_key_the_same_one_counts(
    mode: str, tmp_path, postgres_url, dynoxide, table_name, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def by_helpers(todo, own, others: Helpers, do: Callable, hands: int | None = None) -> None:
        while (item := await todo.take()) is not None:
            todo.done(await (do(others.all[0], item) if others.all else own(item)))

    for module in (source_pass, target_pass):
        monkeypatch.setattr(module, "carry_out", by_helpers)
    servers.execute(postgres_url, ROWS + "UPDATE orders SET v = 3000 - id, gone = false;")
    changes = {"mode": "newer", "version": "v"} if mode == "newer" else {}
    loaded = Loaded(tmp_path, postgres_url, dynoxide, table_name, **changes)
    loaded.command.job["source"] = {
        "type": "postgres",
        "url": postgres_url,
        "query": "SELECT id, id % 300 AS place, email, total, tags, gone, v FROM orders",
        "key": ["id"],
    }
    loaded.command.job["items"][0]["key"]["PK"] = "ORDER#{place}"
    loaded.run()
    loaded.set(7, email={"S": "changed"})
    loaded.delete(9)
    one = loaded.verify("--full", "--workers", "1", code=4)
    two = loaded.verify("--full", "--workers", "2", code=4)
    assert told(two) == told(one)
    assert told(one)[:4] == (298, 1, 1, 0)


def test_a_process_less_than_one_is_refused(damaged: Loaded) -> None:
    ended = damaged.command.here("verify", "--full", "--workers", "0")
    assert ended.code == 2
    assert "say 1" in ended.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(("when", "items"), [("id < 0", 0), ("id > 1900", 100)])
def test_rows_that_give_nothing_are_read_like_others(
    workers: str, when: str, items: int, tmp_path, postgres_url, dynoxide, table_name
) -> None:
    servers.execute(postgres_url, ROWS)
    loaded = Loaded(tmp_path, postgres_url, dynoxide, table_name)
    loaded.command.job["items"][0]["when"] = when
    report = loaded.run().verify("--full", "--read", "scan", "--workers", workers)
    assert told(report)[:4] == (items, 0, 0, 0)
    assert report["rows_read"] == 2000


@pytest.mark.parametrize(
    ("connections", "workers", "processes", "hands"), [(2, 1, 1, 1), (3, 3, 2, 1), (5, 3, 3, 1)]
)
def test_a_verification_takes_no_more_connections_than_the_job_allows(
    damaged: Loaded,
    connections: int,
    workers: int,
    processes: int,
    hands: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of them keeps the view."""
    found, carry_out = [], source_pass.carry_out

    async def noted(todo, own, others, do):
        assert {helper.cursors for helper in others} <= {others.own}
        found.append((1 + len(others.all), others.own))
        await carry_out(todo, own, others, do)

    monkeypatch.setattr(source_pass, "carry_out", noted)
    damaged.command.job["source"]["max_connections"] = connections
    damaged.verify("--full", "--workers", str(workers), code=4)
    assert found == [(processes, hands)]
