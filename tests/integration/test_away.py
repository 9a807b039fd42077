"""A source that is away while it is verified or planned: told, waited for, and told that it is back."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.commands.plan import planner
from engine.commands.plan.measuring import Measuring
from engine.commands.verify import source_pass
from engine.commands.verify.narrator import Narrator
from tests.support import loads
from tests.support.command import Command
from tests.support.own_postgres import OwnPostgres, embedded_binaries, own_postgres
from tests.support.pg import execute

ROWS = 2_000
AWAY, BACK = "the source can't be read (", "the source is back"


@pytest.fixture
def own_source() -> Iterator[OwnPostgres]:
    with own_postgres(embedded_binaries(), "pgserver") as server:
        rows = f"INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, {ROWS}) n"
        asyncio.run(execute(server.url(), "CREATE TABLE t (id int PRIMARY KEY, v text)", rows))
        yield server


@pytest.fixture
def command(own_source: OwnPostgres, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    return Command(tmp_path, loads.job(own_source.url(), dynoxide, table_name))


class Outage:
    """The source goes when its first rows are there, and comes when somebody has told that it is away."""

    def __init__(self, server: OwnPostgres) -> None:
        self._server = server
        self._lock = threading.Lock()
        self.told: list[str] = []
        self.gone = False

    def at_first(self, take: Callable) -> Callable:
        def taken(*given, **named):
            with self._lock:
                if not self.gone:
                    self.gone = True
                    self._server.stop()
            return take(*given, **named)

        return taken

    def hear(self, text: str) -> None:
        self.told.append(text)
        if AWAY in text:
            self._server.start()


@pytest.fixture
def outage(own_source: OwnPostgres, monkeypatch: pytest.MonkeyPatch) -> Outage:
    monkeypatch.setattr("engine.absence.TOLD_AFTER_S", 0.0)
    return Outage(own_source)


def test_a_source_that_is_away_while_it_is_verified_is_told(
    command: Command, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command.here("run", "--workers", "1").code == 0
    notice = Narrator.notice

    def heard(self, text: str) -> None:
        notice(self, text)
        outage.hear(text)

    monkeypatch.setattr(source_pass, "SEGMENT_ROWS", 100)
    monkeypatch.setattr(source_pass, "records_of", outage.at_first(source_pass.records_of))
    monkeypatch.setattr(Narrator, "notice", heard)
    ended = command.here("verify", "--full", "--json", "--workers", "1")
    assert ended.code == 0, ended.stderr
    assert (ended.report["matched"], ended.report["rows_read"]) == (ROWS, ROWS)
    assert [text for text in ended.report["notices"] if text.startswith(AWAY) or text == BACK]
    assert BACK in ended.report["notices"]
    assert AWAY in ended.stderr


def test_a_source_that_is_away_while_it_is_planned_is_told(
    command: Command, own_source: OwnPostgres, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = f"INSERT INTO t SELECT n, 'v' || n FROM generate_series({ROWS + 1}, {20 * ROWS}) n"
    asyncio.run(execute(own_source.url(), more))
    heard, source_heard = outage.hear, planner.source_heard

    def telling(source, tell, told):
        def both(text: str) -> None:
            tell(text)
            heard(text)

        return source_heard(source, both, told)

    command.job["source"]["segments"] = 20
    monkeypatch.setattr(planner, "source_heard", telling)
    read = Measuring.read

    async def begun(self, segment, add, *, in_full):
        await read(self, segment, outage.at_first(add), in_full=in_full)

    monkeypatch.setattr(Measuring, "read", begun)
    ended = command.here("plan", "--full", "--sample", "200", "--workers", "1")
    assert ended.code == 0, ended.stderr
    assert AWAY in ended.stderr
    assert BACK in ended.stderr
