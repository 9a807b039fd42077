"""Jobs of a file that share one slot: it holds what any of them needs, and nobody reads what is another's."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from connectors.patience import with_source
from connectors.postgres.feed import PostgresFeed
from connectors.postgres.keep_log import free_slot
from connectors.postgres.looking_up import LookUps
from connectors.postgres.section import LogCatchUp
from connectors.postgres.session import begin, connect, reading_slot
from connectors.postgres.slot_reading import SlotReader, number_of
from engine.commands.log_needs import by_checkpoints
from engine.errors import JobError
from engine.job.file import load
from engine.run.one_log import LogUses
from tests.support import loads
from tests.support.command import Command
from tests.support.logged import followed, items, until
from tests.support.pg import execute

NAMES = ("t", "u", "w")
POSITION = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = 'shared'"


@pytest.fixture
def command(logged_database: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    """Three jobs, a table each."""
    loads.create_table(dynoxide, table_name)
    asyncio.run(
        execute(
            logged_database,
            *(f"CREATE TABLE {name} (id int PRIMARY KEY, v text)" for name in NAMES),
            *(f"INSERT INTO {name} SELECT n, 'first' FROM generate_series(1, 30) n" for name in NAMES),
        )
    )
    target = loads.job(logged_database, dynoxide, table_name)["target"]
    return Command(tmp_path, {"target": target, "jobs": [entry(logged_database, name) for name in NAMES]})


def entry(url: str, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "source": {
            "type": "postgres",
            "url": url,
            "table": name,
            "catch_up": {"type": "log", "slot": "shared"},
        },
        "items": [{"name": name, "key": {"PK": f"{name}#{{id}}", "SK": "R"}, "attributes": {"v": "{v}"}}],
    }


def url_of(command: Command) -> str:
    return str(command.job["jobs"][0]["source"]["url"])


def change(command: Command, *statements: str) -> None:
    asyncio.run(execute(url_of(command), *statements))


def asked(command: Command, sql: str) -> Any:
    async def ask() -> Any:
        connection = await asyncpg.connect(url_of(command))
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(ask())


def run(command: Command, *options: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """Run, and return the reports by job."""
    ended = command.here("run", "--json", "--workers", "1", *options)
    assert ended.code == code, (ended.stdout, ended.stderr)
    reports = ended.report.get("jobs", [ended.report])
    for report in reports:
        loads.assert_balanced(report)
    return {report["job"]: report for report in reports}


def wants(command: Command) -> dict[str, str]:
    """Return what the target has to say, by the source."""
    found = {}
    for job in command.job["jobs"]:
        name = job["name"]
        rows = asked(command, f"SELECT coalesce(string_agg(id || ' ' || v, ','), '') FROM {name}")
        found |= {f"{name}#{row.split()[0]}|R": row.split()[1] for row in rows.split(",") if row}
    return found


def has(command: Command) -> dict[str, str]:
    return {place: item["v"]["S"] for place, item in items(command).items()}


def stands(command: Command) -> int:
    """Return where the slot stands."""
    return number_of(asked(command, POSITION))


def read_up_to(reports: dict[str, dict[str, Any]]) -> int:
    """Return up to where the slowest of these jobs has come."""
    return min(number_of(report["watermark"]["to"]) for report in reports.values())


def changes(*names: str, value: str) -> list[str]:
    """Change, remove and add a row of each table, as others are changed, too."""
    return [
        statement
        for name in names
        for statement in (
            f"UPDATE {name} SET v = '{value}' WHERE id < 5",
            f"DELETE FROM {name} WHERE id = (SELECT max(id) FROM {name})",
            f"INSERT INTO {name} SELECT min(id) - 1, '{value}' FROM {name}",
            f"UPDATE {name} SET id = id + 100 WHERE id = 7",
        )
    ]


@pytest.mark.parametrize("options", [(), ("--parallel-jobs", "3")])
def test_jobs_that_share_a_slot_all_end_as_the_source_says_and_it_stands_where_the_last_needs_it(
    command: Command, options: Sequence[str]
) -> None:
    full = run(command, *options)
    assert {report["kind"] for report in full.values()} == {"full"}
    assert (
        asked(command, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == 1
    )
    assert asked(command, "SELECT count(*) FROM pg_publication_tables WHERE pubname = 'shared'") == 3
    assert stands(command) <= read_up_to(full)
    change(command, *changes(*NAMES, value="second"))
    reports = run(command, *options)
    assert has(command) == wants(command)
    assert {report["rows_read"] for report in reports.values()} <= {*range(5, 15)}
    assert stands(command) <= read_up_to(reports)
    again = run(command, *options)
    assert {report["rows_read"] for report in again.values()} == {0}
    assert stands(command) >= read_up_to(reports), "the slot follows what all have read"


def test_what_one_job_has_read_stays_as_long_as_another_needs_it_however_far_that_is(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is ahead reads on through a copy: what it needs is behind more than a peek gives."""
    monkeypatch.setattr("connectors.postgres.slot_reading.PEEK_CHANGES", 20)
    run(command)
    before = stands(command)
    copied = []
    go_ahead = SlotReader.go_ahead

    async def noted(slot: SlotReader, position: int) -> bool:
        copied.append(position)
        return await go_ahead(slot, position)

    monkeypatch.setattr(SlotReader, "go_ahead", noted)
    for value in ("second", "third"):
        change(command, *changes("t", "u", value=value), "UPDATE t SET v = 'x' WHERE id > 10")
        run(command, "--only", "t")
        assert {k: v for k, v in has(command).items() if k[0] == "t"} == {
            k: v for k, v in wants(command).items() if k[0] == "t"
        }
    assert copied
    assert asked(command, "SELECT count(*) FROM pg_replication_slots WHERE slot_name <> 'shared'") == 0
    assert stands(command) - before < 10_000, "u and w have read nothing yet"
    assert "It is kept for t, w as well, up to whichever of them is the furthest behind" in " ".join(
        command.here("plan", "--only", "u").stdout.split()
    )
    told = command.here("status").stdout
    assert "of its log for t, u, w (shared); " in told
    assert told.count("which is what it is kept for") == 3
    assert "t is 0 B behind, which" not in told
    monkeypatch.undo()
    reports = run(command)
    assert has(command) == wants(command)
    assert stands(command) == read_up_to(reports)


def test_a_server_without_room_for_a_copy_is_said(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.postgres.slot_reading.PEEK_CHANGES", 20)
    monkeypatch.setattr("connectors.postgres.feed.with_source", lambda *_: with_source(0.5))
    run(command)
    change(command, "UPDATE t SET v = 'second'")
    run(command, "--only", "t")
    change(command, "UPDATE t SET v = 'last'")
    room = "current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots)"
    fill = f"SELECT pg_create_physical_replication_slot('fill_' || n) FROM generate_series(1, {room}) n"
    change(command, fill)
    try:
        ended = run(command, "--only", "t", code=1)
        assert "raise max_replication_slots, or run them first" in ended["t"]["error"]
    finally:
        change(
            command,
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name ~ '^fill_'",
        )
    run(command)
    assert has(command) == wants(command)


def test_a_run_that_ends_between_its_checkpoint_and_the_slot_leaves_what_all_need(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(command)
    change(command, *changes(*NAMES, value="second"))
    with monkeypatch.context() as patch:

        async def killed(*_: object) -> None:
            """Be a run that is gone before it tells the server anything."""

        patch.setattr(PostgresFeed, "confirm", killed)
        run(command)
    change(command, *changes(*NAMES, value="third"))
    reports = run(command)
    assert has(command) == wants(command)
    assert stands(command) <= read_up_to(reports)


def test_a_fresh_run_of_one_takes_nothing_from_the_others_and_misses_nothing_itself(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(command)
    change(command, *changes(*NAMES, value="second"))
    before = stands(command)
    set_up = PostgresFeed.set_up

    async def then_changed(feed: PostgresFeed, say: Any) -> str:
        position = await set_up(feed, say)
        await asyncio.to_thread(change, command, *changes("t", value="between"))
        return position

    monkeypatch.setattr(PostgresFeed, "set_up", then_changed)
    ended = run(command, "--fresh", "--only", "t")
    assert stands(command) == before
    assert number_of(ended["t"]["watermark"]["to"]) > before
    change(command, *changes("t", value="third"))
    reports = run(command)
    assert {name: report["kind"] for name, report in reports.items()} == dict.fromkeys(NAMES, "catch_up")
    missing = {place: value for place, value in wants(command).items() if has(command).get(place) != value}
    assert not missing
    assert all(place[0] == "t" for place in has(command).keys() - wants(command).keys()), (
        "what --fresh leaves"
    )


def test_a_job_that_is_added_later_shares_the_slot_from_its_full_run_on(command: Command) -> None:
    jobs = command.job["jobs"]
    command.job["jobs"] = jobs[:2]
    run(command)
    change(command, *changes(*NAMES, value="second"))
    before = stands(command)
    command.job["jobs"] = jobs
    assert "w has no full run here, and nothing waits for it" in command.here("status").stdout
    added = run(command, "--only", "w")
    assert added["w"]["kind"] == "full"
    assert stands(command) == before
    change(command, *changes(*NAMES, value="third"))
    reports = run(command)
    assert has(command) == wants(command)
    assert {report["kind"] for report in reports.values()} == {"catch_up"}
    # A job that has left the file holds nothing back.
    command.job["jobs"] = jobs[1:]
    change(command, *changes("u", value="fourth"))
    reports = run(command)
    reports = run(command)
    assert stands(command) == read_up_to(reports)


def test_a_job_of_which_others_know_nothing_is_told_that_they_moved_the_slot_on(command: Command) -> None:
    run(command)
    jobs = command.job["jobs"]
    command.job["jobs"] = jobs[:2]
    change(command, *changes("t", "u", value="second"))
    run(command)
    run(command)
    command.job["jobs"] = jobs
    ended = command.here("run", "--json", "--only", "w", "--workers", "1")
    assert ended.code == 2
    assert "jobs that share it did by a file or a --state that doesn't know this one" in ended.stderr
    run(command, "--fresh", "--only", "w")
    change(command, *changes(*NAMES, value="third"))
    run(command)
    assert not {place for place, value in wants(command).items() if has(command).get(place) != value}


def test_all_that_share_a_slot_are_followed_side_by_side_and_one_that_is_slow_holds_nobody_up(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.postgres.slot_reading.PEEK_CHANGES", 20)
    monkeypatch.setattr("connectors.postgres.feeding.QUIET_S", 0.2)
    slow = threading.Event()

    def arrived(value: str, *names: str) -> None:
        change(command, *(f"UPDATE {name} SET v = '{value}' WHERE id = 20" for name in names))
        until(
            lambda: all(has(command).get(f"{name}#20|R") == value for name in names), f"{value} isn't there"
        )

    hold_up(monkeypatch, "u", slow)

    def scene(_: threading.Event) -> None:
        arrived("once", *NAMES)
        slow.set()
        change(command, "UPDATE u SET v = 'slow' WHERE id = 1")
        for n in range(2):
            change(command, *(f"UPDATE {name} SET v = 'n{n}' WHERE id < 19" for name in "tw"))
            arrived(f"while{n}", "t", "w")
        assert has(command)["u#1|R"] == "first"
        slow.clear()
        arrived("twice", *NAMES)
        change(command, *changes(*NAMES, value="third"))
        until(lambda: has(command) == wants(command), "the target isn't as the source is")

    ended = followed(command, scene)
    assert ended.code == 0, ended.stderr
    reports = {report["job"]: report for report in ended.report["jobs"]}
    assert {report["outcome"] for report in reports.values()} == {"complete"}
    assert stands(command) == read_up_to(reports)
    assert {report["rows_read"] for report in run(command).values()} == {0}


def test_of_one_process_one_at_a_time_uses_the_slot(command: Command) -> None:
    """The server lets no two sessions peek into it, and would say so."""
    run(command)
    change(command, *(f"INSERT INTO {name} SELECT n FROM generate_series(100, 1000) n" for name in "tu"))
    jobs = load(command.write_job())
    end = number_of(asked(command, "SELECT pg_current_wal_flush_lsn()::text"))

    async def peek(reader: SlotReader) -> int:
        for _ in range(10):
            await reader.now(0)
            async with reader.peeked(end, [0]) as found:
                count = found.count
        await reader.let_go()
        return count

    async def at_once() -> list[int]:
        uses = LogUses(by_checkpoints(command.state))
        readers = []
        for job in jobs:
            readers.append(SlotReader(url_of(command), LogCatchUp(type="log", slot="shared")))
            readers[-1].sharing = uses.of(job, lambda _: None)
        return await asyncio.gather(*(peek(reader) for reader in readers))

    assert all(count > 1800 for count in asyncio.run(at_once()))


def test_the_sessions_of_this_process_are_in_nobodys_way_and_those_of_another_are(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.postgres.keep_log.BUSY_S", 0.3)
    run(command)
    log = LogCatchUp(type="log", slot="shared")

    async def look() -> None:
        reader, connection = SlotReader(url_of(command), log), await connect(url_of(command))
        try:
            await reader.now(0)
            await begin(connection, None)
            found = await free_slot(connection, log, reader.sharing.sessions)
            assert found is not None
            assert found.active_pid is None
            with pytest.raises(JobError, match="one process at a time goes by a slot"):
                await free_slot(connection, log, ())
            monkeypatch.setattr("connectors.postgres.keep_log.BUSY_S", 100.0)
            waiting = asyncio.create_task(free_slot(connection, log, ()))
            await asyncio.sleep(0.3)
            await reader.let_go()
            found = await waiting  # it sees that the session is gone
            assert found is not None
            assert found.active_pid is None
        finally:
            await connection.close()
            await reader.let_go()

    asyncio.run(look())
    monkeypatch.setattr("connectors.postgres.keep_log.BUSY_S", 0.3)
    with asyncio.Runner() as other:
        reading = other.run(connect(url_of(command), reading_slot("shared")))
        ended = command.here("run", "--json", "--only", "u", "--workers", "1")
        other.run(reading.close())
    assert ended.code == 2
    assert "is in use by pid" in ended.report["error"]


def hold_up(patch: pytest.MonkeyPatch, name: str, held: threading.Event) -> None:
    """Have one job's look-ups wait as long as an event is set."""
    looked_up = LookUps.looked_up

    async def slowly(look_ups: LookUps, *arguments: Any) -> Any:
        while held.is_set() and look_ups._section.table == name:
            await asyncio.sleep(0.05)
        return await looked_up(look_ups, *arguments)

    patch.setattr(LookUps, "looked_up", slowly)


def test_the_log_is_let_go_for_all_that_share_it_at_once(command: Command) -> None:
    run(command)
    refused = command.here("log drop", "--only", "u")
    assert refused.code == 2
    assert "shared keeps the log for t, w, too" in refused.stderr
    dropped = command.here("log drop")
    assert dropped.code == 0, dropped.stderr
    assert dropped.stderr.splitlines() == [
        "backfill: t, u, w: dropped replication slot shared",
        "backfill: t, u, w: dropped publication shared",
    ]
    assert asked(command, POSITION) is None
