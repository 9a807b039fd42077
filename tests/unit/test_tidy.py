"""House rules that no linter knows: one job a file, no leftovers, nothing of the machine it came from."""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("engine", "connectors", "bench")
LINES_MAX = 350
FUNCTION_LINES_MAX = 60
CLASS_LINES_MAX = 200
LEFTOVERS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
PLACES = re.compile(r"(?<![\w.])/(work|root|home/[a-z]+)/\w")


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


PRIVATE = re.compile(r"_[a-z]")
PRIVATE_DOORS = {
    "connectors/dynamodb/http/credentials.py": {"_prompter"},
    "connectors/mongodb/raw.py": {"_unpack_response"},
    "connectors/mongodb/snapshot.py": {"_snapshot_time"},
    "connectors/postgres/session.py": {"_introspect_types"},
}
"""What a library calls its own and we use all the same, in one place each; see `make test-versions`."""
OPEN_ALL_THE_SAME = {"_asdict", "_replace", "_exit"}
"""Public, in spite of their underscore: of named tuples and of os."""


def definitions() -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield str(path.relative_to(ROOT)), node


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


def test_a_class_name_stands_once() -> None:
    named = Counter(node.name for _, node in definitions() if isinstance(node, ast.ClassDef))
    assert not {name for name, times in named.items() if times > 1}


def test_functions_and_classes_are_short_enough_to_be_seen_whole() -> None:
    found = set()
    for path, node in definitions():
        assert node.end_lineno is not None
        lines = node.end_lineno - node.lineno + 1
        if lines > (CLASS_LINES_MAX if isinstance(node, ast.ClassDef) else FUNCTION_LINES_MAX):
            found.add(f"{path} {node.name}")
    assert not found


def test_doors_into_libraries_are_named() -> None:
    used: dict[str, set[str]] = {}
    for path in modules():
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        private = [node for node in nodes if isinstance(node, ast.Attribute) and PRIVATE.match(node.attr)]
        own = {node.attr for node in private if _is_self(node.value)} | OPEN_ALL_THE_SAME
        own |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        if foreign := {node.attr for node in private if not _is_self(node.value)} - own:
            used[str(path.relative_to(ROOT))] = foreign
    assert used == PRIVATE_DOORS


def test_python_is_started_from_what_is_installed() -> None:
    """What `-m` alone starts has the working directory first on its path: a `pickle.py` there would run."""
    started = [
        str(path.relative_to(ROOT))
        for path in modules()
        if any(
            isinstance(node, ast.Constant) and node.value == "-m"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    ]
    assert started == ["engine/environment.py"]


def test_nothing_is_printed_but_where_it_is_made_printable() -> None:
    """Rows, names and servers' words reach a person through `masking.printable` alone."""
    printing = {
        str(path.relative_to(ROOT))
        for path in modules()
        if path.is_relative_to(ROOT / "engine") and "click.echo(" in path.read_text(encoding="utf-8")
    }
    assert printing == {
        "engine/cli/prepare.py",
        "engine/cli/program.py",
        "engine/commands/plan/terminal.py",
        "engine/commands/verify/narrator.py",
        "engine/show/console.py",
    }


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def test_each_package_says_that_it_is_typed() -> None:
    assert all((ROOT / package / "py.typed").is_file() for package in PACKAGES)
