"""Who is measured against whom: each way to load the orders, how it is installed and how it is started.

Invariant: a peer has an environment of its own, made once from pinned packages, and none of the engine's.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from bench.servers import tools_dir
from engine.environment import module_command
from engine.errors import JobError

PEERS = Path(__file__).parent / "peers"
INSTALL_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool that users reach for today. `package` is the one whose version is told."""

    name: str
    label: str
    package: str
    language: Literal["python", "node", "go"] = "python"

    @property
    def pins(self) -> Path:
        """The file that pins its packages."""
        return PEERS / ("package.json" if self.language == "node" else f"{self.name}.txt")

    @property
    def home(self) -> Path:
        """The folder of its environment; another one when the pins change."""
        digest = hashlib.sha256(self.pins.read_bytes()).hexdigest()[:12]
        return tools_dir() / "peers" / f"{self.name}-{digest}"

    @property
    def version(self) -> str:
        """The pinned version of its package."""
        if self.language == "node":
            pinned: str = json.loads(self.pins.read_text(encoding="utf-8"))["dependencies"][self.package]
            return pinned
        found = re.search(rf"^{self.package}==(\S+)$", self.pins.read_text(encoding="utf-8"), re.MULTILINE)
        assert found is not None, f"{self.pins.name} doesn't pin {self.package}"
        return found[1]

    @property
    def python(self) -> str:
        """The interpreter of its own folder."""
        return str(self.home / "bin" / "python")

    @property
    def is_whole(self) -> bool:
        """Whether it is a program of its own, measured as the engine is: all rows, and its start-up, too."""
        return self.language == "go"

    def ingesting(self, table: str, into: str, key: str = "id") -> list[str]:
        """Return ingestr's command line for a table; it takes both ends from its environment."""
        # Its default strategy drops the target first.
        told = f"--incremental-strategy append --primary-key {key} --yes --progress log"
        program = str(self.home / "bin" / self.name)
        return [program, "ingest", "--source-table", table, "--dest-table", into, *told.split()]

    def command(self, rows: int) -> list[str]:
        """Return the command line that loads so many orders."""
        if self.is_whole:
            return [*self.ingesting("public.orders", "orders"), "--sql-limit", str(rows)]
        if self.language == "node":
            return [shutil.which("node") or "node", str(PEERS / "lib_dynamodb.mjs"), str(rows)]
        return module_command(f"bench.peers.{self.name}_writer", str(rows), python=self.python)


INGESTR = Peer("ingestr", "ingestr, whole process", "ingestr", "go")
ALL = (
    Peer("boto3", "boto3 batch_writer", "boto3"),
    Peer("aiobotocore", "aiobotocore, 32 workers", "aiobotocore"),
    Peer("awswrangler", "awswrangler put_df", "awswrangler"),
    Peer("pynamodb", "pynamodb batch_write", "pynamodb"),
    Peer("node", "Node lib-dynamodb, 32 in flight", "@aws-sdk/lib-dynamodb", "node"),
    INGESTR,
)


def ready(peers: Sequence[Peer], tell: Callable[[str], None]) -> tuple[list[Peer], dict[str, str]]:
    """Install what isn't there; return who can run, and why the others can't."""
    able, missing = [], {}
    for peer in peers:
        try:
            _install(peer, tell)
            able.append(peer)
        except JobError as error:
            missing[peer.name] = str(error)
    return able, missing


def environment(peer: Peer, source_url: str, endpoint: str) -> Mapping[str, str]:
    """Return a peer's environment: where rows are, in libpq's words and as a URL, and where they go."""
    parts = urlsplit(source_url)
    keys = "region=us-east-1&access_key_id=local&secret_access_key=local"
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PG"))},
        "SOURCE_URI": source_url,
        "DESTINATION_URI": f"dynamodb://{endpoint.removeprefix('http://')}?{keys}",
        "INGESTR_DISABLE_TELEMETRY": "1",
        "PGHOST": parse_qs(parts.query).get("host", [""])[0],
        "PGUSER": parts.username or "postgres",
        "PGDATABASE": parts.path.lstrip("/"),
        "DYNAMODB_ENDPOINT": endpoint,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": str(PEERS.parents[1]),
        "PEER_MODULES": str(peer.home),
    }


def _install(peer: Peer, tell: Callable[[str], None]) -> None:
    done = peer.home / ".installed"
    if done.exists():
        return
    tell(f"installing {peer.package} {peer.version} into a folder of its own")
    shutil.rmtree(peer.home, ignore_errors=True)
    peer.home.mkdir(parents=True)
    if peer.language == "node":
        npm = shutil.which("npm")
        if npm is None or shutil.which("node") is None:
            raise JobError("Node.js with npm isn't installed here")
        shutil.copy(peer.pins, peer.home)
        options = ("--silent", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")
        _call([npm, "install", *options], peer.home, f"npm could not install {peer.package}")
    else:
        _call(module_command("venv", "."), peer.home, "venv failed")
        pip = module_command("pip", "install", "--quiet", "--no-deps", python=peer.python)
        pinned = ("--only-binary=:all:", "-r", str(peer.pins))
        _call([*pip, *pinned], peer.home, f"pip could not install {peer.package}")
    done.touch()


def _call(command: Sequence[str], folder: Path, fault: str) -> None:
    done = subprocess.run(  # noqa: S603 - a fixed command line
        command, cwd=folder, capture_output=True, timeout=INSTALL_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise JobError(f"{fault}; is the package registry there?")
