"""The hook: found where a user puts it, and every fault named in one sentence."""

import sys

import pytest

from engine.errors import JobError
from engine.job.hook import load_hook, source_digest


@pytest.fixture(autouse=True)
def importable(monkeypatch, tmp_path):
    """Give back the path and forget the modules of the test."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("hookmod"):
            del sys.modules[name]


def write(directory, name, text):
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_function_beside_the_job_file_is_found(tmp_path):
    write(tmp_path / "jobs", "hookmod_a.py", "def enrich(frame):\n    return ('enriched', frame)\n")
    assert load_hook("hookmod_a:enrich", tmp_path / "jobs")("x") == ("enriched", "x")


def test_a_function_in_a_package_of_the_current_directory_is_found(tmp_path):
    write(tmp_path / "here", "hookmod_b/__init__.py", "")
    write(tmp_path / "here", "hookmod_b/jobs.py", "class Rules:\n    enrich = staticmethod(str)\n")
    assert load_hook("hookmod_b.jobs:Rules.enrich", tmp_path) is str


def test_a_file_beside_the_job_hides_no_library(tmp_path):
    write(tmp_path, "colorsys.py", "rgb_to_hsv = None\n")
    load_hook("colorsys:rgb_to_hsv", tmp_path)


def test_no_directory_is_on_the_path_but_the_hooks(tmp_path):
    """A library that looks for an optional one (`snappy`) would find what lies there under its name."""
    write(tmp_path / "jobs", "hookmod_d.py", "enrich = str\n")
    write(tmp_path / "here", "hookmod_stray.py", "")
    load_hook("colorsys:rgb_to_hsv", tmp_path / "jobs")
    assert str(tmp_path / "jobs") not in sys.path
    load_hook("hookmod_d:enrich", tmp_path / "jobs")
    assert sys.path[-1] == str(tmp_path / "jobs")
    assert str(tmp_path / "here") not in sys.path


def test_a_hook_in_a_namespace_of_something_installed_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path / "installed"), *sys.path])
    write(tmp_path / "installed", "hookmod_space/a.py", "")
    write(tmp_path / "here", "hookmod_space/b.py", "enrich = str\n")
    assert load_hook("hookmod_space.b:enrich", tmp_path) is str


@pytest.mark.parametrize(
    ("reference", "what"),
    [
        ("hookmod_missing:enrich", "there is no module hookmod_missing, neither installed nor in"),
        ("hookmod_c.missing:enrich", "there is no module hookmod_c.missing"),
        ("hookmod_c:absent", "the module hookmod_c has no absent"),
        ("hookmod_c:LIMIT", "LIMIT is a int, not a function"),
        ("hookmod_needs:enrich", "failed with ModuleNotFoundError: No module named 'hookmod_other'"),
        ("hookmod_broken:enrich", "importing hookmod_broken failed with SyntaxError"),
        ("hookmod_raises:enrich", "failed with RuntimeError: first line"),
        ("hookmod_exits:enrich", "importing hookmod_exits failed with SystemExit: 3"),
        ("hookmod_c", "it must be module:function"),
        ("hookmod c:enrich", "it must be module:function"),
    ],
)
def test_a_fault_names_the_reference_and_what_is_wrong(tmp_path, reference, what):
    write(tmp_path, "hookmod_c/__init__.py", "LIMIT = 5\n")
    write(tmp_path, "hookmod_needs.py", "import hookmod_other\n")
    write(tmp_path, "hookmod_broken.py", "def enrich(:\n")
    write(tmp_path, "hookmod_raises.py", "raise RuntimeError('first line\\nsecond line')\n")
    write(tmp_path, "hookmod_exits.py", "raise SystemExit(3)\n")
    with pytest.raises(JobError) as caught:
        load_hook(reference, tmp_path)
    assert f"transform {reference!r}: " in str(caught.value)
    assert what in str(caught.value)
    assert "second line" not in str(caught.value)


def test_the_digest_changes_with_the_source_and_runs_nothing(tmp_path):
    path = write(tmp_path, "hookmod_d.py", "raise SystemExit\n")
    first = source_digest("hookmod_d:enrich", tmp_path)
    assert source_digest("hookmod_d:enrich", tmp_path) == first
    path.write_text("raise SystemExit  # changed\n")
    assert source_digest("hookmod_d:enrich", tmp_path) != first


def test_the_digest_of_a_builtin_module_is_its_name(tmp_path):
    assert source_digest("sys:exit", tmp_path) != source_digest("time:sleep", tmp_path)


@pytest.mark.parametrize("reference", ["hookmod_none:x", "hookmod_none.sub:x", "hookmod none:x"])
def test_no_digest_without_the_module(tmp_path, reference):
    with pytest.raises(JobError, match="transform"):
        source_digest(reference, tmp_path)
