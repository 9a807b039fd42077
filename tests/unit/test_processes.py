"""What a process says of itself is its own."""

import subprocess
import sys

PARENT = """
import subprocess, sys
held = b"x" * 500_000_000
child = "from engine.commands.run.processes import usage; print(usage().peak_rss_bytes)"
subprocess.run([sys.executable, "-c", child], check=True)
"""


def test_the_peak_of_memory_is_not_the_parents() -> None:
    ended = subprocess.run([sys.executable, "-c", PARENT], capture_output=True, text=True, check=True)
    assert 0 < int(ended.stdout) < 400_000_000
