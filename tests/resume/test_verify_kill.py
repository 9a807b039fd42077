"""A verification that is killed at any moment and started again tells what an undisturbed one tells."""

import random
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest

from bench import servers
from engine.commands.verify.progress_store import ProgressStore
from tests.integration.test_verify import ROWS, Loaded
from tests.support.command import Ended

SMALL_STEPS = """
import asyncio, sys
from connectors.dynamodb.reading import reader
from engine.cli import main
from engine.commands.verify import recheck, source_pass, target_pass
recheck.PAUSES_S = (0.2, 0.2, 0.2)
source_pass.READ_RECORDS, source_pass.SEGMENT_ROWS = 200, 250
source_pass.COMMIT_S = target_pass.COMMIT_S = 0.0
scan = reader.TableReader.scan

async def slowly(self, *arguments, **options):
    async for page in scan(self, *arguments, limit=100):
        await asyncio.sleep(0.02)
        yield page

reader.TableReader.scan = slowly
main(sys.argv[1:])
"""
"""The command, with more moments in which it can be killed."""

TOLD = (
    *("checked", "matched", "mismatched", "missing", "extra", "consistency_percent", "differences"),
    *("rows_read", "not_ours", "looked_again", "left", "extra_checked"),
)


def start(command, *arguments):
    path = command.write_job()
    return subprocess.Popen(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            SMALL_STEPS,
            "verify",
            path.name,
            "--full",
            "--json",
            *arguments,
        ],
        cwd=command.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(command, *arguments):
    process = start(command, *arguments)
    stdout, stderr = process.communicate(timeout=120)
    return Ended(process.returncode, stdout, stderr)


def stopped_once_begun(command):
    """Return a verification that is stopped in the middle."""
    directory = command.state / command.job["name"] / "verify"
    for _ in range(10):
        process = start(command)
        while process.poll() is None and not begun(directory):
            time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        if process.poll() is None:
            return process
        process.communicate()
    raise AssertionError("each of ten was over before it was seen to have begun")


def kill_once_begun(command):
    """Kill a verification as soon as there is something that the next one can go on with."""
    directory = command.state / command.job["name"] / "verify"
    for _ in range(10):
        process, has_begun = start(command), False
        try:
            while process.poll() is None and not (has_begun := begun(directory)):
                time.sleep(0.01)
        finally:
            process.kill()
            process.communicate()
        if has_begun and process.returncode == -signal.SIGKILL:
            return
    raise AssertionError("each of ten was over before it was seen to have begun")


def begun(directory):
    if not (directory / "progress.sqlite").exists():
        return False
    with closing(ProgressStore(directory)) as store:
        return bool(store.segments(0))


def told(ended):
    assert ended.code == 4, ended.stderr
    report = {name: ended.report[name] for name in TOLD}
    report["differences"] = sorted(map(str, report["differences"]))
    return report


@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_verification_goes_on_to_the_same_report(tmp_path, postgres_url, dynoxide, table_name, seed):
    servers.execute(postgres_url, ROWS)
    loaded = Loaded(tmp_path, postgres_url, dynoxide, table_name)
    loaded.command.job["source"]["batch_rows"] = 100
    loaded.run()
    for number in range(1, 40, 3):
        loaded.set(number, email={"S": "changed"})
    loaded.delete(41)
    loaded.put("ORDER#777777", email={"S": "no row"})
    loaded.put("CONFIG#1", email={"S": "not of this job"})
    began = time.monotonic()
    undisturbed = told(finish(loaded.command, "--fresh"))
    whole_s = time.monotonic() - began
    assert undisturbed["missing"] == undisturbed["extra"] == undisturbed["not_ours"] == 1

    rng = random.Random(seed)
    for _ in range(6):
        process = start(loaded.command)
        time.sleep(rng.uniform(0.5, 1.0) * whole_s)
        process.kill()
        process.communicate()
    kill_once_begun(loaded.command)  # however early or late the others came
    ended = finish(loaded.command)
    assert told(ended) == undisturbed
    assert "going on" in ended.stderr


def test_a_second_one_beside_it_is_refused_and_spoils_nothing(tmp_path, postgres_url, dynoxide, table_name):
    servers.execute(postgres_url, ROWS)
    loaded = Loaded(tmp_path, postgres_url, dynoxide, table_name)
    loaded.command.job["source"]["batch_rows"] = 100
    loaded.run().delete(41)
    first = stopped_once_begun(loaded.command)
    try:
        second = loaded.command.here("verify", "--full")
        assert second.code == 2, second.stderr
        assert f"is already being verified by pid {first.pid}" in second.stderr
        assert loaded.command.here("verify", "--sample", "5").code in (0, 4), (
            "a sample has a place of its own"
        )
    finally:
        first.send_signal(signal.SIGCONT)
        stdout, stderr = first.communicate(timeout=120)
    report = told(Ended(first.returncode, stdout, stderr))
    assert [report[name] for name in ("mismatched", "missing", "extra")] == [0, 1, 0]
