"""A disk that is full, a checkpoint that is damaged: the run waits or stops resumable, and ends whole."""

import errno
import signal
import tempfile
from pathlib import Path

import pytest

from bench import servers
from engine.commands.room import on_disk
from engine.commands.verify import recheck
from engine.errors import PermanentError
from tests.integration.test_verify import ROWS as ORDERS
from tests.integration.test_verify import Loaded
from tests.support import loads, wire_scan
from tests.support.command import Ended
from tests.support.full_disk import files_no_larger_than
from tests.support.paced_load import BAD_EVERY, END_S, ROWS, Load

pytestmark = pytest.mark.fault


@pytest.mark.parametrize(("size", "workers"), [(20_000, "1"), (60_000, "2")])
def test_a_full_disk_stops_the_run_and_nothing_counts_that_isnt_safe(
    load: Load, size: int, workers: str
) -> None:
    load.command.job["items"].append(
        {"name": "Large", "key": {"PK": "{v}", "SK": "{none}"}, "when": "id % 20 = 0", "include": ["v"]}
    )
    load.command.job["source"] |= {"query": "SELECT *, NULL::text AS none FROM t", "key": ["id"]}
    del load.command.job["source"]["table"]
    del load.command.job["target"]["max_wcu"]
    load.command.write_job()
    with files_no_larger_than(size):
        process = load.command.start("run", "--json", "--workers", workers)
    stdout, stderr = process.communicate(timeout=END_S)
    ended = Ended(process.returncode, stdout, stderr)
    assert ended.code == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "can't be written" in ended.stderr.splitlines()[-1], ended.stderr
    now = load.status()
    if now["outcome"] is not None:  # the disk may have been full before the first row
        loads.assert_balanced(now)
    large = ROWS // 20
    ended = load.resume()
    assert ended.code == 3, ended.stderr
    report = ended.report
    assert (report["rows_read"], report["items_dead_lettered"]) == (ROWS, ROWS // BAD_EVERY + large)
    loads.assert_balanced(report)
    letters = sorted(
        (letter["rule"], int(letter["source_key"]["id"])) for letter in load.command.dead_letters()
    )
    assert letters == sorted(
        [("Row", n) for n in range(BAD_EVERY, ROWS + 1, BAD_EVERY)]
        + [("Large", n) for n in range(20, ROWS + 1, 20)]
    )
    target = load.command.job["target"]
    assert len(wire_scan.scan(target["endpoint_url"], target["table"])) == ROWS - ROWS // BAD_EVERY


def test_a_damaged_checkpoint_is_refused_and_told_what_to_do(load: Load) -> None:
    process = load.begin("--workers", "1")
    load.wait(process, lambda: load.status()["items_dead_lettered"] > 0)
    process.send_signal(signal.SIGINT)
    assert load.end(process).code == 130
    folder = load.command.state / "load"
    path = folder / "state.sqlite"
    for name in ("state.sqlite-wal", "state.sqlite-shm"):
        (folder / name).unlink(missing_ok=True)
    whole = path.read_bytes()
    letters = folder / "dead-letters.jsonl"
    letters.rename(letters.with_suffix(".aside"))
    assert_refused(load.command.here("run"), "dead-letters.jsonl")
    letters.with_suffix(".aside").rename(letters)
    for damaged in (
        whole[: len(whole) // 2],
        whole[:4096] + bytes(byte ^ 0x5A for byte in whole[4096:]),
        b"",
        b'{"a": 1}' * 500,
    ):
        path.write_bytes(damaged)
        assert_refused(load.command.here("run"), "state.sqlite")
        assert_refused(load.command.here("status"), "state.sqlite")
    load.command.job["target"].pop("max_wcu")
    load.assert_whole(load.command.here("run", "--json", "--workers", "1", "--fresh"), resumed=False)


@pytest.fixture
def loaded(
    tmp_path: Path, postgres_url: str, dynoxide: str, table_name: str, monkeypatch: pytest.MonkeyPatch
) -> Loaded:
    monkeypatch.setattr(recheck, "PAUSES_S", (0.0,))
    servers.execute(postgres_url, ORDERS)
    return Loaded(tmp_path, postgres_url, dynoxide, table_name).run()


@pytest.mark.parametrize("size", [1_000, 10_000, 35_000])
def test_a_verification_without_room_says_so_and_goes_on_later(loaded: Loaded, size: int) -> None:
    with files_no_larger_than(size):
        ended = loaded.command.here("verify", "--full", "--workers", "1")
    assert ended.code == 1, ended.stderr
    said = ended.stderr.splitlines()[-1]
    assert "can't be written" in said
    assert "--state" in said
    assert loaded.verify("--full", "--workers", "1")["consistency_percent"] == 100


def test_a_verification_without_a_place_for_temporary_files_says_so(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(loaded.command.folder / "gone"))
    ended = loaded.command.here("verify")
    assert ended.code == 1, ended.stderr
    assert "temporary files can't be written (No such file or directory)" in ended.stderr
    assert "TMPDIR" in ended.stderr


def test_a_limit_of_open_files_is_no_fault_of_a_disk() -> None:
    said = r"no more files may be opened .*ulimit -n"
    with pytest.raises(PermanentError, match=said), on_disk(None, "make room"):
        raise OSError(errno.EMFILE, "Too many open files")
    with pytest.raises(ConnectionResetError), on_disk(None, "make room"):
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")


def assert_refused(ended: Ended, what: str) -> None:
    assert ended.code == 2, ended.stderr
    assert what in ended.stderr
    assert "--fresh" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
