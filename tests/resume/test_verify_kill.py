"""A verification that is killed at any moment and started again tells what an undisturbed one tells."""

import random
import subprocess
import sys
import time

import pytest

from bench import servers
from tests.integration.test_verify import ROWS, Loaded
from tests.support.command import Ended

SMALL_STEPS = """
import asyncio, sys
from connectors.dynamodb.reading import reader
from engine.cli import main
from engine.commands import hash_store
from engine.commands.verify import recheck, source_pass, target_pass
recheck.PAUSES_S = (0.2, 0.2, 0.2)
hash_store.PART_RECORDS, source_pass.SEGMENT_ROWS, target_pass.COMMIT_S = 300, 250, 0.0
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

    rng, killed, went_on = random.Random(seed), 0, False
    for _ in range(6):
        process = start(loaded.command)
        time.sleep(rng.uniform(0.5, 1.0) * whole_s)
        killed += process.poll() is None
        process.kill()
        went_on |= "going on" in process.communicate()[1]
    ended = finish(loaded.command)
    assert told(ended) == undisturbed
    assert killed
    assert went_on or "going on" in ended.stderr
