"""A MongoDB server of one test, which keeps its address while it is stopped, restored or replaced."""

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from bench import mongod
from bench.servers import free_port, running


class OwnMongo:
    """A replica set of one, or a standalone server, on one port; `data` may be put aside and brought back."""

    def __init__(self, folder: Path, *, replica_set: bool = True) -> None:
        self._folder = folder
        self._replica_set = replica_set
        self._port = free_port()
        self._stack = ExitStack()
        self.data = folder / "data"
        self.direct_url = f"mongodb://127.0.0.1:{self._port}/?directConnection=true"
        self.url = f"mongodb://127.0.0.1:{self._port}/" + ("?replicaSet=rs0" if replica_set else "")

    def start(self) -> None:
        """Start it on `data`, new or as it was left."""
        new = not self.data.exists()
        self.data.mkdir(exist_ok=True)
        command: list[Any] = [mongod.mongod_binary(), "--dbpath", self.data, "--port", str(self._port)]
        command += ["--bind_ip", "127.0.0.1", "--wiredTigerCacheSizeGB", "0.25", "--quiet"]
        command += ["--logpath", self._folder / "mongod.log", "--logappend"]
        command += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
        command += ["--replSet", "rs0"] if self._replica_set else []
        self._stack.enter_context(running(command, port=self._port))
        if new and self._replica_set:
            direct = f"mongodb://127.0.0.1:{self._port}/"
            with MongoClient[dict[str, Any]](direct, directConnection=True) as client:
                members = [{"_id": 0, "host": f"127.0.0.1:{self._port}"}]
                client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
        with MongoClient[dict[str, Any]](self.url) as client:
            client.admin.command("ping")  # waits for the primary

    def stop(self) -> None:
        """Stop it; its data stay."""
        self._stack.close()

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self.start()

    def back_up(self) -> Path:
        """Copy its data, stopped meanwhile, and go on."""
        self.stop()
        backup = self._folder / "backup"
        shutil.copytree(self.data, backup)
        self.start()
        return backup

    def restore(self, backup: Path) -> None:
        """Put a copy in place of the data."""
        self.stop()
        shutil.rmtree(self.data)
        shutil.copytree(backup, self.data)
        self.start()

    def replace(self) -> None:
        """Put another server, with data of its own, behind the same address."""
        self.stop()
        shutil.rmtree(self.data)
        self.start()
