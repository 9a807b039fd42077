"""plan --full with workers of other hosts says what one process says, whichever of them dies."""

from collections.abc import Iterator
from typing import Any

import pytest

from engine.commands.helpers_afar import HelperAfar
from engine.commands.plan import whole
from tests.integration.test_plan_workers import command, told
from tests.support.afar import SOON, TOKEN, Hosts, hosts
from tests.support.command import Command
from tests.support.helped import asked_of_all

__all__ = ["command"]


@pytest.fixture
def scene(command: Command, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    monkeypatch.setenv("SOURCE_URL", postgres_url)
    monkeypatch.setenv("BACKFILL_WORKER_TOKEN", TOKEN)
    command.job["source"]["url"] = "${SOURCE_URL}"
    with hosts(command.folder, postgres_url, command.job) as made:
        yield made


def planned(command: Command, *arguments: str) -> dict[str, Any]:
    ended = command.here("plan", "--json", "--full", "--sample", "200", *arguments)
    assert ended.code == 4, ended.stderr
    return ended.report


@pytest.mark.parametrize("killed", [False, True])
def test_workers_of_other_hosts_say_what_one_process_says(
    killed: bool, command: Command, scene: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = planned(command, "--workers", "1")
    workers = [scene.worker(number, first=SOON) for number in (1, 2)]
    ask, asked = HelperAfar.ask, list[tuple[int, bool]]()

    async def noted(self, order):
        asked.append((id(self), order.suspects is None))
        if killed and len(asked) == 3:
            workers[0].kill()
            workers[0].wait()
        return await ask(self, order)

    asked_of_all(monkeypatch, whole)
    monkeypatch.setattr(HelperAfar, "ask", noted)
    listening = ("--listen", f"127.0.0.1:{scene.port}", "--expect", "2")
    two = planned(command, "--workers", "0", *listening)
    assert told(two) == told(one)
    assert one["collisions"]["keys"] > 50
    shown = {tuple(each["key"]): each["items"] for each in one["collisions"]["examples"]}
    assert shown == {tuple(each["key"]): each["items"] for each in two["collisions"]["examples"]}
    assert {first for _, first in asked} == {True, False}, "both times"
    assert len({which for which, _ in asked}) == 2
    assert [scene.ended(worker).code for worker in workers] == ([-9, 0] if killed else [0, 0])
