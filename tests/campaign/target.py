"""The stub of a seed: its process, its table, what it tells.

Invariant: what is asked here is never befallen by faults and is no part of the history.
"""

import sys
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from bench.servers import free_port, running
from tests.campaign import history
from tests.campaign.faults import Faults
from tests.campaign.rows import Item
from tests.campaign.stub import CONTROL, TABLE
from tests.support import wire_scan

BATCH = 25


@dataclass(frozen=True, slots=True)
class Stub:
    """A running stub."""

    endpoint: str

    def counts(self) -> dict[str, Any]:
        return orjson.loads(self._get("counts"))

    def history(self) -> list[history.Entry]:
        return history.load(self._get("history"))

    def _get(self, what: str) -> bytes:
        with urllib.request.urlopen(f"{self.endpoint}{CONTROL}{what}", timeout=60) as answer:
            return answer.read()

    def create(self) -> None:
        keys = {"PK": "HASH", "SK": "RANGE"}
        self._call(
            "CreateTable",
            KeySchema=[{"AttributeName": name, "KeyType": role} for name, role in keys.items()],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
            BillingMode="PAY_PER_REQUEST",
        )

    def recreate(self) -> None:
        """Put an empty table in the place of the one that is there."""
        self._call("DeleteTable")
        self.create()

    def put(self, items: Mapping[str, Item]) -> None:
        self._write([{"PutRequest": {"Item": item}} for item in items.values()])

    def remove(self, keys: Iterable[str]) -> None:
        """Take items out, by `PK|SK`."""
        places = [dict(zip(("PK", "SK"), key.split("|"), strict=True)) for key in keys]
        self._write(
            [
                {"DeleteRequest": {"Key": {name: {"S": value} for name, value in place.items()}}}
                for place in places
            ]
        )

    def _write(self, entries: Sequence[Mapping[str, Any]]) -> None:
        for at in range(0, len(entries), BATCH):
            wire_scan.call(
                self.endpoint, "BatchWriteItem", {"RequestItems": {TABLE: entries[at : at + BATCH]}}
            )

    def items(self) -> dict[str, Item]:
        found = wire_scan.scan(self.endpoint, TABLE).values()
        return {f"{item['PK']['S']}|{item['SK']['S']}": item for item in found}

    def _call(self, operation: str, **body: Any) -> None:
        wire_scan.call(self.endpoint, operation, {"TableName": TABLE, **body})


@contextmanager
def stub_of(faults: Faults, log: Path, host: str = "127.0.0.1") -> Iterator[Stub]:
    """Run a stub in a process of its own; it answers on 127.0.0.1, and where `host` says."""
    port = free_port()
    given = orjson.dumps(asdict(faults), option=orjson.OPT_NON_STR_KEYS).decode()
    command = [sys.executable, "-m", "tests.campaign.stub", "--host", host]
    command += ["--port", str(port), "--faults", given]
    with running(command, port=port, log=log):
        yield Stub(f"http://127.0.0.1:{port}")
