"""What a run by the log leaves on the server when it is killed; whole seeds of it: tests/soak."""

import asyncio
import json
import random
import signal
import time
from pathlib import Path

import asyncpg

from tests.support import loads, log_keys
from tests.support.command import Command, kill_group
from tests.support.logged import TABLE, as_source, asked, change, items, run, seen, until, values
from tests.support.pg import execute


def test_a_slot_that_was_being_made_when_the_run_was_killed_is_in_nobodys_way(
    logged_database: str, database: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    """It waits for open writers; the server sees within a second or so that nobody is there any more."""
    loads.create_table(dynoxide, table_name)
    asyncio.run(execute(logged_database, *TABLE))
    log = {"type": "log", "slot": f"s_{database}"}
    command = Command(tmp_path, loads.job(logged_database, dynoxide, table_name, source={"catch_up": log}))

    async def killed_while_it_waits() -> None:
        writer, looker = await asyncpg.connect(logged_database), await asyncpg.connect(logged_database)

        async def slots() -> int:
            sql = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1"
            return int(await looker.fetchval(sql, log["slot"]))

        try:
            await writer.execute("BEGIN; UPDATE t SET v = 'second' WHERE id = 1")
            process = command.start("run", "--workers", "1")
            while not await slots():
                assert process.poll() is None
                await asyncio.sleep(0.1)
            kill_group(process)
            async with asyncio.timeout(60):
                while await slots():
                    await asyncio.sleep(0.1)
            await writer.execute("COMMIT")
        finally:
            await writer.close()
            await looker.close()

    asyncio.run(killed_while_it_waits())
    assert command.here("run", "--workers", "1").code == 0
    assert items(command)["ROW#1|ROW"]["v"] == {"S": "second"}


def test_a_follower_that_is_killed_again_and_again_ends_as_the_source_says(
    logged_database: str, database: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    """The first kill may meet the full run, or the moment between that and what follows."""
    loads.create_table(dynoxide, table_name)
    asyncio.run(execute(logged_database, *TABLE))
    log = {"type": "log", "slot": f"s_{database}"}
    command = Command(tmp_path, loads.job(logged_database, dynoxide, table_name, source={"catch_up": log}))
    random_ = random.Random(1)

    def changed() -> None:
        one, other = random_.randint(1, 99), random_.randint(1, 99)
        change(
            command,
            f"UPDATE t SET v = '{random_.random()}' WHERE id = {one}",
            f"UPDATE t SET id = id + 100 WHERE id = {one}"
            f" AND NOT EXISTS (SELECT FROM t WHERE id = {one} + 100)",
            f"UPDATE t SET id = {other} WHERE id = {other} + 100"
            f" AND NOT EXISTS (SELECT FROM t WHERE id = {other})",
            f"DELETE FROM t WHERE id = {other}",
            f"INSERT INTO t VALUES ({one}, '{random_.random()}') ON CONFLICT DO NOTHING",
        )

    for number in range(4):
        process = command.start("run", "--follow", "--workers", "1")
        if number:
            seen(command, f"round {number}")
        deadline = time.monotonic() + random_.uniform(0.5, 2.5)
        while process.poll() is None and time.monotonic() < deadline:
            changed()
        assert process.poll() is None, process.communicate()
        kill_group(process)
    process = command.start("run", "--json", "--follow", "--workers", "1")
    try:
        for _ in range(20):
            changed()
        seen(command, "the last")
        until(lambda: values(command) == as_source(command), "the target isn't as the source is")
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            kill_group(process)
    assert process.returncode == 0, stderr
    report = json.loads(stdout)
    assert (report["kind"], report["outcome"], report["resumed"]) == ("catch_up", "complete", True)
    loads.assert_balanced(report)
    assert values(command) == as_source(command)


def test_a_follower_that_is_killed_while_rows_take_keys_from_each_other_ends_as_a_fresh_load(
    logged_database: str, database: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    random_ = random.Random(3)
    loads.create_table(dynoxide, table_name)
    asyncio.run(execute(logged_database, *log_keys.TABLE))
    source = {"catch_up": {"type": "log", "slot": f"s_{database}"}, "where": "keep"}
    rules = [log_keys.BY_K, log_keys.BY_TAG, log_keys.BY_R, log_keys.OWN]
    command = Command(tmp_path, loads.job(logged_database, dynoxide, table_name, source=source, items=rules))
    run(command, "full")
    for _ in range(2):
        process = command.start("run", "--follow", "--workers", "1")
        before = log_keys.held(command)
        for _ in range(100):
            change(command, *log_keys.application(random_, 20))
            if log_keys.held(command) != before:  # it is in the middle of it
                break
        assert process.poll() is None, process.communicate()
        kill_group(process)
    change(command, *log_keys.application(random_, 20))
    run(command, "catch_up")
    assert log_keys.held(command) == log_keys.fresh(command)


def test_followers_that_share_a_slot_and_are_killed_together_miss_nothing(
    logged_database: str, database: str, dynoxide: str, table_name: str, tmp_path: Path
) -> None:
    """The slot may have moved on for both, for one or for none of what their checkpoints cover."""
    random_ = random.Random(4)
    loads.create_table(dynoxide, table_name)
    asyncio.run(
        execute(logged_database, *TABLE, "CREATE TABLE u AS TABLE t", "ALTER TABLE u ADD PRIMARY KEY (id)")
    )
    log = {"type": "log", "slot": f"s_{database}"}
    one = loads.job(logged_database, dynoxide, table_name, source={"catch_up": log})
    rule = {"name": "U", "key": {"PK": "U#{id}", "SK": "ROW"}, "include": "all"}
    other = {"name": "other", "source": {**one["source"], "table": "u"}, "items": [rule]}
    alone = Command(tmp_path, one)
    both = Command(tmp_path, {"target": one.pop("target"), "jobs": [dict(one), other]})
    one["target"] = both.job["target"]

    def as_both_say() -> dict[str, str]:
        rows = asyncio.run(asked(alone, "SELECT coalesce(json_object_agg(id, v), '{}')::text FROM u"))
        return as_source(alone) | {f"U#{key}|ROW": value for key, value in json.loads(rows).items()}

    def changed() -> None:
        for name in "tu":
            row = random_.randint(1, 99)
            change(
                alone,
                f"UPDATE {name} SET v = '{random_.random()}' WHERE id = {row}",
                f"DELETE FROM {name} WHERE id = {random_.randint(1, 99)}",
                f"INSERT INTO {name} VALUES ({row}, '{random_.random()}') ON CONFLICT DO NOTHING",
            )

    for number in range(3):
        process = both.start("run", "--follow", "--workers", "1")
        seen(alone, f"round {number}")
        deadline = time.monotonic() + random_.uniform(0.2, 1.5)
        while process.poll() is None and time.monotonic() < deadline:
            changed()
        assert process.poll() is None, process.communicate()
        kill_group(process)
    changed()
    assert both.here("run", "--workers", "1").code == 0
    assert values(alone) == as_both_say()
