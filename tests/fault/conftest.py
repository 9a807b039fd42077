"""A load to break, and a target to kill."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paced_load import TABLE, Load, OwnTarget, load_of
from tests.support.pg import execute


@pytest.fixture
def load(postgres_url: str, dynoxide: str, table_name: str, tmp_path: Path) -> Load:
    asyncio.run(execute(postgres_url, *TABLE))
    return load_of(tmp_path, postgres_url, dynoxide, table_name)


@pytest.fixture
def own_target(dynoxide: str, tmp_path: Path) -> Iterator[OwnTarget]:
    target = OwnTarget(tmp_path)
    target.start()
    try:
        yield target
    finally:
        target.kill()
