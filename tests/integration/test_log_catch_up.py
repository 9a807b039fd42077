"""Catch-up runs from PostgreSQL's log: the table ends as the source says, and nothing is left."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from connectors.dynamodb.target import TableTarget
from connectors.postgres.feed import PostgresFeed
from connectors.postgres.looking_up import LookUps
from connectors.postgres.slot_reading import LogNow, SlotReader, number_of
from engine.batch import Cursor, EncodedBatch, Fates, WriteReport
from engine.errors import PermanentError
from engine.run.target_watch import TargetWatch
from tests.support import loads
from tests.support.command import Command
from tests.support.logged import LOG, TABLE, asked, change, items, parts_of, refused, run
from tests.support.own_postgres import OwnPostgres
from tests.support.pg import execute


@pytest.fixture
def command(logged_database: str, dynoxide: str, table_name: str, tmp_path: Path) -> Command:
    loads.create_table(dynoxide, table_name)
    asyncio.run(execute(logged_database, *TABLE))
    return Command(tmp_path, loads.job(logged_database, dynoxide, table_name, source={"catch_up": LOG}))


def test_deleted_rows_and_changed_keys_leave_nothing_behind(command: Command) -> None:
    run(command, "full")
    assert len(items(command)) == 100
    change(
        command,
        "DELETE FROM t WHERE id = 1",
        "UPDATE t SET id = 1000 WHERE id = 2",
        "UPDATE t SET v = 'second' WHERE id = 3",
        "INSERT INTO t VALUES (200, 'new')",
        "INSERT INTO t VALUES (201, 'gone again')",
        "DELETE FROM t WHERE id = 201",
    )
    report = run(command, "catch_up")
    found = items(command)
    assert {"ROW#1|ROW", "ROW#2|ROW", "ROW#201|ROW"}.isdisjoint(found)
    assert {"ROW#1000|ROW", "ROW#200|ROW"} <= found.keys()
    assert found["ROW#3|ROW"]["v"] == {"S": "second"}
    assert len(found) == 100
    assert (report["items_written"], report["items_deleted"], report["items_coalesced"]) == (3, 3, 0)
    assert run(command, "catch_up")["items_emitted"] == 0


def test_rows_that_leave_what_is_read_lose_their_items_and_come_back(command: Command) -> None:
    command.job["source"]["where"] = "keep"
    command.job["items"][0]["when"] = "v <> 'hidden'"
    run(command, "full")
    change(command, "UPDATE t SET keep = false WHERE id = 1", "UPDATE t SET v = 'hidden' WHERE id = 2")
    run(command, "catch_up")
    assert {"ROW#1|ROW", "ROW#2|ROW"}.isdisjoint(items(command))
    change(command, "UPDATE t SET keep = true WHERE id = 1", "UPDATE t SET v = 'shown' WHERE id = 2")
    run(command, "catch_up")
    assert {"ROW#1|ROW", "ROW#2|ROW"} <= items(command).keys()


def test_an_item_that_cannot_be_written_leaves_what_was_there(command: Command) -> None:
    command.job["items"][0]["attributes"] = {"n": {"value": "{v}", "as": "N"}}
    change(command, "UPDATE t SET v = '1'")
    run(command, "full")
    change(command, "UPDATE t SET v = 'no number' WHERE id = 1", "DELETE FROM t WHERE id = 2")
    run(command, "catch_up", code=3)
    assert items(command)["ROW#1|ROW"]["v"] == {"S": "1"}
    assert "ROW#2|ROW" not in items(command)
    (letter,) = command.dead_letters()
    assert letter["detail"].endswith("; what an earlier run wrote under this key stays as it was")


def test_a_truncated_table_ends_the_run_with_what_to_do(command: Command) -> None:
    run(command, "full")
    change(command, "TRUNCATE t", "INSERT INTO t VALUES (1, 'alone')")
    said = refused(command, 1)
    assert "public.t" in said
    assert "truncated" in said
    assert "--delete-extra" in said
    run(command, "full", 0, "--fresh")
    change(command, "UPDATE t SET v = 'on'")
    run(command, "catch_up")


def test_a_quiet_table_lets_the_slot_move_on(command: Command) -> None:
    run(command, "full")
    change(command, "CREATE TABLE busy AS SELECT n, repeat('x', 500) FROM generate_series(1, 20000) n")
    position = (
        "SELECT (confirmed_flush_lsn - '0/0')::int8 FROM pg_replication_slots WHERE slot_name = 'nightly'"
    )
    before = asyncio.run(asked(command, position))
    assert run(command, "catch_up")["rows_read"] == 0
    assert asyncio.run(asked(command, position)) - before > 5_000_000


def test_a_transaction_of_many_parts_and_a_log_of_many_peeks(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is gathered and peeked at a time is bounded; the next peek waits for what is durable."""
    parts_of(monkeypatch, 7)
    monkeypatch.setattr("connectors.postgres.slot_reading.PEEK_CHANGES", 50)
    run(command, "full")
    change(
        command,
        "UPDATE t SET id = id + 1000",
        *(f"UPDATE t SET v = 'v{n}' WHERE id = {1000 + n}" for n in range(1, 101)),
        "UPDATE t SET id = id - 1000",
        "DELETE FROM t WHERE id % 10 = 0",
    )
    report = run(command, "catch_up")
    assert {place: item["v"] for place, item in items(command).items()} == {
        f"ROW#{n}|ROW": {"S": f"v{n}"} for n in range(1, 101) if n % 10
    }
    assert report["rows_read"] > 300
    assert run(command, "catch_up")["rows_read"] == 0


def test_a_commit_that_queries_do_not_see_yet_is_waited_for(
    command: Command, logical_postgres: OwnPostgres
) -> None:
    """The log has it, and its transaction waits for a synchronous standby: rows look as they were."""
    run(command, "full")
    log = command.folder / "log"

    async def setting(value: str) -> None:
        for sql in (f"ALTER SYSTEM SET synchronous_standby_names = '{value}'", "SELECT pg_reload_conf()"):
            await execute(
                logical_postgres.url(), f"SET synchronous_commit = local; {sql}" if "reload" in sql else sql
            )

    async def so(sql: str) -> None:
        while not await asked(command, sql):
            await asyncio.sleep(0.01)

    async def scene() -> int:
        await setting("nobody")
        try:
            await so("SELECT current_setting('synchronous_standby_names') = 'nobody'")
            writer = await asyncpg.connect(command.job["source"]["url"])
            await writer.execute("SET synchronous_commit = on")
            hanging = asyncio.create_task(writer.execute("UPDATE t SET v = 'unseen' WHERE id = 1"))
            await so("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            process = command.start("run", "--workers", "1", log=log)
            while process.poll() is None and "no query sees it yet" not in log.read_text():
                await asyncio.sleep(0.05)
            assert not hanging.done()
        finally:
            await setting("")
        await hanging
        await writer.close()
        await asyncio.to_thread(process.communicate)
        return process.returncode

    assert asyncio.run(scene()) == 0, log.read_text()
    assert items(command)["ROW#1|ROW"]["v"] == {"S": "unseen"}


def test_a_log_of_others_changes_is_covered_by_the_checkpoint_too(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Peeks that give nothing of ours come to an end, and the slot is never ahead of the checkpoint."""
    monkeypatch.setattr("connectors.postgres.slot_reading.PEEK_CHANGES", 50)
    parts_of(monkeypatch, 1)
    change(
        command, "CREATE TABLE other (id int PRIMARY KEY)", "CREATE PUBLICATION nightly FOR TABLE other, t"
    )
    run(command, "full")
    change(
        command,
        "UPDATE t SET v = 'second' WHERE id = 1",
        *(f"INSERT INTO other SELECT generate_series({n}, {n} + 30)" for n in range(0, 400, 40)),
        "UPDATE t SET v = 'second' WHERE id = 2",
    )
    durable, ahead = [0], []
    kept, now = PostgresFeed.kept, SlotReader.now

    def noted(feed: PostgresFeed, end: Cursor) -> None:
        durable.append(number_of(end.key[0]))
        kept(feed, end)

    async def moved(slot: SlotReader, position: int) -> LogNow:
        ahead.append(position > max(durable))
        return await now(slot, position)

    monkeypatch.setattr(PostgresFeed, "kept", noted)
    monkeypatch.setattr(SlotReader, "now", moved)
    run(command, "catch_up")
    first, *behind = ahead
    assert first, "from where the run before has ended"
    assert len(behind) > 2
    assert not any(behind)
    assert {items(command)[f"ROW#{n}|ROW"]["v"]["S"] for n in (1, 2)} == {"second"}
    assert run(command, "catch_up")["rows_read"] == 0


def test_what_a_peek_and_a_look_up_ask_of_the_server(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each costs a round trip or two, several times a second: what is asked twice makes a follower slow."""
    asked: dict[str, list[int]] = {"": [0], "now": [], "looked_up": []}
    at = [""]

    def named(cls: type, name: str) -> None:
        did = getattr(cls, name)

        async def noted(*arguments: Any) -> Any:
            at.append(name)
            asked[name].append(0)
            try:
                return await did(*arguments)
            finally:
                at.pop()

        monkeypatch.setattr(cls, name, noted)

    def counted(name: str) -> None:
        did = getattr(asyncpg.Connection, name)

        async def noted(*arguments: Any, **options: Any) -> Any:
            asked[at[-1]][-1] += 1
            return await did(*arguments, **options)

        monkeypatch.setattr(asyncpg.Connection, name, noted)

    run(command, "full")
    change(command, "UPDATE t SET v = 'second'")
    parts_of(monkeypatch, 30)
    named(SlotReader, "now")
    named(LookUps, "looked_up")
    for name in ("execute", "fetch", "fetchrow", "fetchval", "copy_from_query"):
        counted(name)
    run(command, "catch_up")
    first, *later = asked["looked_up"]
    assert first <= 16, "the driver may look types up"
    assert set(later) <= {14, 0}
    assert 14 in later
    assert max(asked["now"]) <= 10


def test_letters_of_rows_that_were_written_or_deleted_since_are_settled(command: Command) -> None:
    """Redrive reads each row as it is now, and the log takes away what was of those that are gone."""
    command.job["items"][0]["attributes"] = {"n": {"value": "{v}", "as": "N"}}
    change(command, "UPDATE t SET v = '1'")
    run(command, "full")
    change(command, "UPDATE t SET v = 'no number' WHERE id <= 4")
    run(command, "catch_up", code=3)
    assert len(command.dead_letters()) == 4
    change(
        command,
        "UPDATE t SET v = '2' WHERE id = 1",
        "DELETE FROM t WHERE id = 2",
        "UPDATE t SET id = 300, v = '3' WHERE id = 3",
    )
    run(command, "catch_up", code=3)  # letters are still open
    ended = command.here("redrive", "--json")
    assert ended.code == 3, ended.stderr
    told = {name: ended.report[name] for name in ("tried", "settled", "left", "gone", "items_written")}
    assert told == {"tried": 4, "settled": 3, "left": 1, "gone": 0, "items_written": 1}
    assert [letter["source_key"] for letter in command.dead_letters()] == [{"id": "4"}]
    found = items(command)
    assert {"ROW#2|ROW", "ROW#3|ROW"}.isdisjoint(found)
    assert [found[f"ROW#{n}|ROW"]["v"]["S"] for n in (1, 300, 4)] == ["2", "3", "1"]


def test_a_put_and_a_delete_of_one_key_are_never_in_flight_together(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each change is a batch of its own, and each batch takes longer than the next one is away."""
    parts_of(monkeypatch, 1)
    run(command, "full")
    flips = [f"UPDATE t SET id = {to} WHERE id = {of}" for _ in range(10) for of, to in ((1, 500), (500, 1))]
    change(command, *flips)
    write, in_flight, met = TableTarget.write, Counter[int](), []

    async def watched(target: TableTarget, encoded: EncodedBatch) -> WriteReport | Fates:
        keys = encoded.key_hashes.tolist()
        in_flight.update(keys)
        met.append(max(in_flight.values(), default=0))
        await asyncio.sleep(0.01)
        try:
            return await write(target, encoded)
        finally:
            in_flight.subtract(keys)

    monkeypatch.setattr(TableTarget, "write", watched)
    run(command, "catch_up")
    assert len(met) >= len(flips)
    assert max(met) == 1
    assert "ROW#1|ROW" in items(command)
    assert "ROW#500|ROW" not in items(command)


def test_a_run_that_had_read_all_but_could_not_end_leaves_the_next_one_what_came_since(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is gone on with is read to the log's end as it is then, also where only the end was missing."""
    run(command, "full")
    change(command, "UPDATE t SET v = 'second' WHERE id = 1")

    async def untold(watch: TargetWatch, stop: asyncio.Event) -> PermanentError:
        del watch, stop
        return PermanentError("whether the table is still the same can't be told")

    with monkeypatch.context() as patch:
        patch.setattr(TargetWatch, "confirm", untold)
        ended = command.here("run", "--json", "--workers", "1")
    assert (ended.code, ended.report["segments"]) == (1, {"total": 1, "complete": 1}), ended.stderr
    change(command, "UPDATE t SET v = 'third' WHERE id = 2")
    run(command, "catch_up")
    assert [items(command)[f"ROW#{n}|ROW"]["v"]["S"] for n in (1, 2)] == ["second", "third"]
    assert run(command, "catch_up")["rows_read"] == 0
