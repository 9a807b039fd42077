"""promtool comes out of a package where apt hands one out; elsewhere its tests are skipped, in time."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import prometheus

HANDED_OUT = "echo package > prometheus_2_amd64.deb"
UNPACK = r"""#!/bin/sh
mkdir -p $3/usr/bin
printf '#!/bin/sh\nexit %s\n' $CODE > $3/usr/bin/promtool
chmod +x $3/usr/bin/promtool
"""


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing fetched, and a dpkg-deb by which promtool runs."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("CODE", "0")
    which = {"apt-get": programs / "apt-get", "dpkg-deb": programs / "dpkg-deb"}
    monkeypatch.setattr("tests.support.prometheus.shutil.which", lambda name: here(which.get(name)))
    monkeypatch.setattr("tests.support.prometheus.fetched", prometheus.fetched.__wrapped__)
    (programs / "dpkg-deb").write_text(UNPACK)
    (programs / "dpkg-deb").chmod(0o755)
    return programs


def here(path: Path | None) -> str | None:
    return str(path) if path is not None and path.exists() else None


def apt_get(bare: Path, script: str) -> None:
    (bare / "apt-get").write_text(f'#!/bin/sh\necho "$@" >> {bare}/asked\n{script}\n')
    (bare / "apt-get").chmod(0o755)


def asked(bare: Path) -> list[str]:
    """What apt-get was asked to do, by its last words."""
    return [
        line.partition(" prometheus")[0].split()[-1] for line in (bare / "asked").read_text().splitlines()
    ]


def test_it_is_fetched_once_and_kept(bare: Path) -> None:
    apt_get(bare, HANDED_OUT)
    first = prometheus.program("promtool")
    assert Path(first).parent.is_relative_to(bare.parent / "cache")
    assert prometheus.program("promtool") == first
    assert asked(bare) == ["download"]
    assert len([*Path(first).parents[1].iterdir()]) == 1, "nothing else is left"


def test_without_lists_of_packages_some_are_fetched_beside_it(bare: Path) -> None:
    apt_get(
        bare, f'case "$*" in *Dir::State::lists=*download*) {HANDED_OUT};; *update) ;; *) exit 100;; esac'
    )
    assert Path(prometheus.program("promtool")).exists()
    assert asked(bare) == ["download", "update", "download"]


@pytest.mark.parametrize(
    ("script", "code", "why"),
    [
        (None, "0", "there is no apt"),
        ("exit 100", "0", "apt-get can't fetch it"),
        (f"{HANDED_OUT}; exit 100", "0", "apt-get can't fetch it"),
        (HANDED_OUT, "127", "prometheus_2_amd64.deb doesn't run here"),
    ],
)
def test_where_it_can_not_be_had_its_tests_are_skipped(
    bare: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, code: str, why: str
) -> None:
    monkeypatch.setenv("CODE", code)
    if script is not None:
        apt_get(bare, script)
    with pytest.raises(pytest.skip.Exception) as skipped:
        prometheus.program("promtool")
    assert str(skipped.value) == (f"no promtool is here; Debian has it in the package prometheus ({why})")


@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
def test_an_apt_that_hangs_is_ended_with_all_that_it_started(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = bare / "child"

    class Begun(subprocess.Popen[bytes]):
        def wait(self, timeout: float | None = None) -> int:
            """The time begins when all is started."""
            while timeout is not None and not child.exists():
                time.sleep(0.01)
            return super().wait(timeout)

    monkeypatch.setattr(prometheus, "FETCH_S", 0.1)
    monkeypatch.setattr("tests.support.prometheus.subprocess.Popen", Begun)
    first = f"(sleep 600 & echo $! > {bare}/new; mv {bare}/new {child}; wait)"
    apt_get(bare, f"[ -e {child} ] || {first}; sleep 600")
    assert prometheus.fetched() == "apt-get can't fetch it"
    while runs(int(child.read_text())):
        time.sleep(0.01)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
