"""Work of reading, not time: Python runs per batch of rows, never per row."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from bench import orders
from tests.support.counting import calls_of, lines_of
from tests.support.pg import opened

FEW, MANY = 10_000, 50_000
BATCH_ROWS = 5_000

CALLS_PER_ROW_MAX = 0.2
LINES_PER_ROW_MAX = 0.3
"""Counted: 0.06 and 0.07; how many chunks the socket gives is chance. A step for each row would add 1."""


@pytest.fixture
def source_url(postgres_url: str) -> str:
    asyncio.run(orders.fill(postgres_url, MANY))
    return postgres_url


def read(url: str, until: int) -> None:
    async def go() -> int:
        where = f"id <= {until}"
        async with opened(url, table="orders", where=where, batch_rows=BATCH_ROWS) as source:
            (segment,) = await source.segments(1)
            return sum([batch.rows.num_rows async for batch in source.read(segment, None)])

    assert asyncio.run(go()) == until


@pytest.mark.parametrize(("counted", "most"), [(calls_of, CALLS_PER_ROW_MAX), (lines_of, LINES_PER_ROW_MAX)])
def test_python_runs_per_batch_and_not_per_row(source_url: str, counted: Any, most: float) -> None:
    read(source_url, FEW)  # imports and caches are no work of the reading's
    few: Counter[str] = counted(lambda: read(source_url, FEW))
    many: Counter[str] = counted(lambda: read(source_url, MANY))
    assert (many.total() - few.total()) / (MANY - FEW) <= most, (many - few).most_common(10)
