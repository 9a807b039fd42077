"""What a run by the log leaves on the server when it is killed; whole seeds of it: tests/soak."""

import asyncio
from pathlib import Path

import asyncpg

from tests.support import loads
from tests.support.command import Command, kill_group
from tests.support.logged import TABLE, items
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
