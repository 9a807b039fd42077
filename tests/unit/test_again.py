"""A test that fails is run once more, alone: what is told of it, and what the command ends with."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.again import FEW

ROOT = Path(__file__).parents[2]

HOPING = """
from pathlib import Path

def test_hopes():
    before = Path("before")
    tried = before.exists()
    before.touch()
    assert tried
"""


def of_python(*arguments: str, at: Path) -> tuple[int, str]:
    ran = subprocess.run(
        [sys.executable, *arguments], cwd=at, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    return ran.returncode, ran.stdout


@pytest.mark.parametrize(
    ("tests", "code", "said"),
    [
        (HOPING, 0, "Each hopes for something: mend it.\n  test_it.py::test_hopes"),
        (HOPING + "def test_fails(): assert False\n", 1, "1 failed, 1 passed"),
        ("".join(f"def test_{n}(): assert False\n" for n in range(FEW + 1)), 1, f"{FEW + 1} tests failed"),
        ("def test_passes(): pass\n", 1, "0 tests failed"),
    ],
)
def test_what_failed_beside_others_has_one_more_chance(tmp_path, tests, code, said):
    (tmp_path / "test_it.py").write_text(tests)
    of_python("-m", "pytest", "-q", at=tmp_path)
    found, told = of_python("-m", "tests.again", at=tmp_path)
    assert found == code
    assert said in told
