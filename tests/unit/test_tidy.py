"""House rules that no linter knows: one job a file, no leftovers, nothing of the machine it came from."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("engine", "connectors", "bench")
LINES_MAX = 350
LEFTOVERS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
PLACES = re.compile(r"(?<![\w.])/(work|root|home/[a-z]+)/\w")


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_its_job_and_keeps_to_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), f"{path} doesn't say what its one job is"
    assert len(text.splitlines()) <= LINES_MAX, f"{path} is over {LINES_MAX} lines: which of its jobs can go?"
    assert not LEFTOVERS.search(text), f"{path} holds a leftover"


def test_no_tracked_file_names_a_place_of_a_machine() -> None:
    found = []
    for path in tracked():
        if path.suffix in (".lock", ".png", ".svg") or not path.is_file() or path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in PLACES.finditer(text)]
    assert not found, found


def test_no_file_is_left_in_conflict_or_backed_up() -> None:
    assert not [path for path in tracked() if path.suffix in (".orig", ".rej", ".bak")]
