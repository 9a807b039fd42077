"""The SQLite store: damage is told and never guessed around, and nobody else reads the files."""

import asyncio
import contextlib
import json
import sqlite3
import stat
import threading
from dataclasses import replace

import pytest

from engine.batch import Effort
from engine.errors import JobError, PermanentError
from engine.state.checkpoint import open_store
from engine.state.file import read_state
from tests.support.states import a_letter, a_mark, a_run

LATER = "2026-01-02T04:00:00.000Z"


@pytest.fixture
async def interrupted(tmp_path):
    """Leave a run of three segments with a dead letter behind; the state file's path."""
    store = open_store(tmp_path, "orders")
    await store.begin(a_run(segments=3))
    await store.advance([a_mark(0, "10", 4, [a_letter("9")]), a_mark(1, "110", 2)], Effort())
    await store.close()
    return tmp_path / "orders" / "state.sqlite"


async def loaded(path):
    store = open_store(path.parent.parent, "orders")
    try:
        return await store.load()
    finally:
        await store.close()


async def test_only_the_owner_reads_state(interrupted):
    store = open_store(interrupted.parent.parent, "orders")
    await store.load()
    await store.resume()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in interrupted.parent.iterdir()}
    assert {"state.sqlite", "state.sqlite-wal", "dead-letters.jsonl", "lock"} <= set(modes)
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(interrupted.parent.stat().st_mode) == 0o700
    await store.close()


async def test_status_reads_a_run_that_is_alive_or_gone(interrupted):
    directory = interrupted.parent.parent
    store = open_store(directory, "orders")
    await store.load()
    await store.resume()
    await store.advance([a_mark(2, "210", 1)], Effort())
    assert read_state(directory, "orders").counts.items_written == 7
    await store.close()
    assert read_state(directory, "orders").counts.items_written == 7
    assert read_state(directory, "others") is None


async def test_a_tail_that_no_checkpoint_covers_is_cut(interrupted):
    letters = interrupted.with_name("dead-letters.jsonl")
    whole = letters.read_bytes()
    letters.write_bytes(whole + whole + b'{"run_id": "ru')
    store = open_store(interrupted.parent.parent, "orders")
    await store.load()
    assert len(letters.read_bytes()) > len(whole)
    await store.resume()
    assert letters.read_bytes() == whole
    await store.close()


@pytest.mark.parametrize("left", [0, 20])
async def test_lost_dead_letters_are_told(interrupted, left):
    letters = interrupted.with_name("dead-letters.jsonl")
    letters.write_bytes(letters.read_bytes()[:left])
    with pytest.raises(JobError, match=r"dead-letters\.jsonl (is missing|was cut to 20 of).*--fresh"):
        await loaded(interrupted)
    assert read_state(interrupted.parent.parent, "orders").counts.items_dead_lettered == 1


async def test_dead_letters_of_a_closed_run_belong_to_the_user(tmp_path):
    store = open_store(tmp_path, "orders")
    await store.begin(a_run("run-1", segments=1))
    await store.advance([a_mark(0, "10", 1, [a_letter("1"), a_letter("2")], done=True)], Effort())
    await store.finish("complete_with_dead_letters", LATER, Effort(), None)
    first = store.dead_letters.read_text().splitlines()[0]
    store.dead_letters.write_text(first)  # edited, without a last line feed
    assert (await store.load()).closed
    await store.begin(a_run("run-2", kind="catch_up", segments=1))
    await store.advance([a_mark(0, "20", 1, [a_letter("3")])], Effort())
    lines = [json.loads(line) for line in store.dead_letters.read_text().splitlines()]
    assert [line["source_key"]["id"] for line in lines] == ["1", "3"]
    await store.close()


async def test_a_flipped_byte_is_told_or_harmless(interrupted):
    before = await loaded(interrupted)
    good = interrupted.read_bytes()
    told = 0
    for place in [*range(120), *range(120, len(good), 37)]:
        bad = bytearray(good)
        bad[place] ^= 0x20
        interrupted.write_bytes(bad)
        try:
            after = await loaded(interrupted)
        except JobError as error:
            assert "--fresh" in str(error)  # noqa: PT017
            told += 1
        else:
            assert after == before
        for name in ("state.sqlite-wal", "state.sqlite-shm"):
            interrupted.with_name(name).unlink(missing_ok=True)
    assert told > 20


@pytest.mark.parametrize("keep", [0, 0.2, 0.6, 0.95])
async def test_a_cut_file_is_told(interrupted, keep):
    good = interrupted.read_bytes()
    interrupted.write_bytes(good[: int(len(good) * keep)])
    with pytest.raises(JobError, match=r"state\.sqlite is damaged .*restore it.*--fresh"):
        await loaded(interrupted)


@pytest.mark.parametrize(
    "harm",
    [
        "DELETE FROM segments WHERE number = 1",
        "UPDATE segments SET record = replace(record, '110', '190')",
        "UPDATE runs SET record = '{}'",
        "DROP TABLE segments",
    ],
)
async def test_altered_records_are_told(interrupted, harm):
    connection = sqlite3.connect(interrupted)
    connection.execute(harm)
    connection.commit()
    connection.close()
    with pytest.raises(JobError, match="damaged"):
        await loaded(interrupted)
    with pytest.raises(JobError, match="damaged"):
        read_state(interrupted.parent.parent, "orders")


async def test_a_newer_state_is_told(interrupted):
    connection = sqlite3.connect(interrupted)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(JobError, match=r"newer backfill \(state version 99"):
        await loaded(interrupted)


async def test_another_database_is_not_touched(tmp_path):
    (tmp_path / "orders").mkdir()
    path = tmp_path / "orders" / "state.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE precious (x)")
    connection.close()
    with pytest.raises(JobError, match="isn't a state file of backfill"):
        await loaded(path)


async def test_a_fresh_run_keeps_what_was_damaged_and_lettered_aside(interrupted):
    interrupted.write_bytes(b"not a database, but sixteen bytes and more" * 100)
    store = open_store(interrupted.parent.parent, "orders")
    with pytest.raises(JobError):
        await store.load()
    await store.begin(a_run("run-2"))
    await store.advance([a_mark(0, "10", 1)], Effort())
    assert (await store.load()).run_id == "run-2"
    names = {path.name for path in interrupted.parent.iterdir()}
    assert {"before-run-2.state.sqlite", "dead-letters.before-run-2.jsonl"} <= names
    await store.close()


async def test_a_fresh_run_with_lost_dead_letters_keeps_the_history(tmp_path):
    store = open_store(tmp_path, "orders")
    await store.begin(a_run("run-1", segments=1))
    await store.advance([a_mark(0, "10", 1, done=True)], Effort())
    await store.finish("complete", LATER, Effort(), None)
    await store.begin(a_run("run-2", segments=1))
    await store.advance([a_mark(0, "10", 1, [a_letter("1")])], Effort())
    store.dead_letters.unlink()
    await store.close()
    store = open_store(tmp_path, "orders")
    await store.begin(a_run("run-3"))
    assert (await store.last_complete()).run_id == "run-1"
    await store.close()


async def test_old_runs_are_forgotten_and_the_last_complete_one_never(tmp_path):
    store = open_store(tmp_path, "orders")
    for number in range(60):
        await store.begin(a_run(f"run-{number}", segments=1))
        await store.advance([a_mark(0, "10", 1, done=True)], Effort())
        await store.finish("complete", LATER, Effort(), None)
    await store.begin(a_run("run-x", segments=1))
    assert (await store.last_complete()).run_id == "run-59"
    await store.close()
    connection = sqlite3.connect(tmp_path / "orders" / "state.sqlite")
    assert connection.execute("SELECT count(*) FROM runs").fetchone() == (51,)
    connection.close()


async def test_state_holds_no_secret(tmp_path):
    """Nothing but what it is given gets in: no environment, no URL."""
    store = open_store(tmp_path, "orders")
    await store.begin(replace(a_run(), fingerprint={"source": "ab12"}))
    await store.close()
    kept = b"".join(path.read_bytes() for path in (tmp_path / "orders").iterdir())
    assert b"ab12" in kept
    assert b"AWS_SECRET" not in kept


@pytest.mark.parametrize("begun", [True, False])
async def test_a_cancelled_advance_is_whole_or_not_there(tmp_path, monkeypatch, begun):
    """Cancelled while the store's thread is at it: whole. While it still has other work: not there."""
    store = open_store(tmp_path, "orders")
    await store.begin(a_run())
    whole = 0
    at_it, go_on = threading.Event(), threading.Event()
    commit = store._commit

    def slowly(*given):
        at_it.set()
        go_on.wait()
        commit(*given)

    monkeypatch.setattr(store, "_commit", slowly)
    for step in range(1, 30):
        at_it.clear()
        go_on.clear()
        earlier = None if begun else store.thread.submit(go_on.wait)
        task = asyncio.create_task(store.advance([a_mark(0, str(step), 1, [a_letter(str(step))])], Effort()))
        await asyncio.sleep(0)
        if begun:
            await asyncio.to_thread(at_it.wait)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        go_on.set()
        counts = (await store.load()).counts
        assert counts.items_written == (whole + 1 if begun else 0)
        assert earlier is None or earlier.done()
        whole = counts.items_written
        assert counts.items_dead_lettered == whole
        assert store.dead_letters.exists() == (whole > 0)
        if whole:
            assert len(store.dead_letters.read_text().splitlines()) == whole
    await store.close()


async def test_a_directory_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PermanentError, match="--state"):
        open_store(tmp_path / "file" / "state", "orders")


async def test_a_second_runner_past_a_deleted_lock_ends_the_first_with_a_sentence(interrupted):
    directory = interrupted.parent.parent
    first = open_store(directory, "orders")
    await first.load()
    await first.resume()
    (interrupted.parent / "lock").unlink()
    second = open_store(directory, "orders")
    await second.begin(a_run(run_id="another", segments=3))
    with pytest.raises(PermanentError, match="another run of this job took its place"):
        await first.advance([a_mark(2, "210", 1)], Effort())
    assert (await second.load()).run_id == "another"
    await first.close()
    await second.close()
