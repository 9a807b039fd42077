"""What of a hook goes to other hosts: its own source, what it imports from beside it, nothing else there."""

import sys
from pathlib import Path

import pytest

from engine.errors import JobError
from engine.job import hook_files
from engine.job.hook import load_hook
from engine.job.hook_files import beside


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


def loaded(folder: Path, reference: str, files: dict[str, str]) -> dict[str, bytes]:
    for name, source in files.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(source)
    load_hook(reference, folder)
    return beside(reference, folder)


def test_a_module_goes_with_what_it_imports_from_beside_it(tmp_path: Path) -> None:
    files = {
        "travels_a.py": "import travels_b\ndef same(rows): return rows\n",
        "travels_b.py": "",
        "other.py": "",
    }
    (tmp_path / "job.yaml").write_text("secret")
    assert sorted(loaded(tmp_path, "travels_a:same", files)) == ["travels_a.py", "travels_b.py"]


def test_a_package_goes_whole(tmp_path: Path) -> None:
    files = {
        "travels_p/__init__.py": "",
        "travels_p/jobs.py": "def same(rows): return rows\n",
        "travels_p/later.py": "",
    }
    (tmp_path / "travels_p").mkdir()
    (tmp_path / "travels_p" / "key.pem").write_text("secret")
    assert sorted(loaded(tmp_path, "travels_p.jobs:same", files)) == sorted(files)


def test_what_is_installed_stays(tmp_path: Path) -> None:
    assert loaded(tmp_path, "json:dumps", {"travels_a.py": ""}) == {}


def test_a_library_is_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook_files, "BYTES_MAX", 10)
    with pytest.raises(JobError, match="install it on all nodes"):
        loaded(tmp_path, "travels_c:same", {"travels_c.py": "def same(rows): return rows\n"})
