"""Cuts a source into segments that are even by rows, at keys that the server has chosen.

Invariant: the segments are disjoint and cover every key; the first is open below and the last above.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from connectors.postgres.errors import checking
from connectors.postgres.sql import Shape, boundaries_sql
from engine.batch import Cursor, Segment

SAMPLED_PAGES_MIN, SAMPLED_PAGES_PER_SEGMENT = 8_000, 500
"""Rows of one page are neighbours, so it is the pages that make a sample even: 500 give about 4 %."""
SAMPLED_PAGES_MAX = 64_000
"""However many segments there are: nothing is written before they are cut, and these are 512 MB to read. Of
4,000 segments each then goes by 16 pages, and is larger or smaller by a quarter; a cursor reads many."""
SAMPLED_ROWS_PER_SEGMENT_MIN = 20
_WHOLE_SHARE = 0.5
"""Where a sample would take this share of the table, all of it is looked at instead."""


async def cut(connection: Any, shape: Shape, wanted: int, rows_expected: int | None) -> Sequence[Segment]:
    """Cut into about `wanted` segments. Call inside the snapshot.

    Of what can be sampled no more is read than two samples, or than twice the largest.
    """
    if wanted <= 1 or not shape.key:
        return (Segment(0, None, None, rows_expected),)
    percent = sample_percent(shape, wanted)
    async with checking("source.segments"):
        rows = await connection.fetch(boundaries_sql(shape, wanted, percent))
        if percent is None or _looked_at(rows) >= wanted * SAMPLED_ROWS_PER_SEGMENT_MIN:
            every = 1
        else:
            rows = await connection.fetch(boundaries_sql(unfiltered(shape), wanted, percent))
            every = -(-wanted * SAMPLED_ROWS_PER_SEGMENT_MIN // max(1, _looked_at(rows)))
    boundaries = [(tuple(row.values())[: len(shape.key)], row["position"]) for row in rows]
    expected = _looked_at(rows) if rows and percent is None else rows_expected
    return between(boundaries[every - 1 :: every], _looked_at(rows), expected)


def unfiltered(shape: Shape) -> Shape:
    """Return what cuts by all rows, where a filter passes few: looking at the others is what takes time."""
    there = tuple(f"{key.sql} IS NOT NULL" for key in shape.key if key.nullable)
    return replace(shape, filters=there, changed=None)


def _looked_at(rows: Sequence[Any]) -> int:
    return int(rows[0]["total"]) if rows else 0


def sample_percent(shape: Shape, wanted: int) -> float | None:
    """Return the share of the pages to look at, in percent; None: all rows."""
    pages = min(SAMPLED_PAGES_MAX, max(SAMPLED_PAGES_MIN, SAMPLED_PAGES_PER_SEGMENT * wanted))
    if not shape.samples or pages >= shape.pages * _WHOLE_SHARE:
        return None
    return 100.0 * pages / shape.pages


def between(
    boundaries: Sequence[tuple[tuple[str, ...], int]], total: int, rows_expected: int | None
) -> Sequence[Segment]:
    """Return the segments between boundaries; equal ones (of keys that repeat) make no empty segment.

    Units: a boundary's position and `total` in rows looked at.
    """
    segments: list[Segment] = []
    after, begin = None, 0
    for key, position in [*boundaries, (None, total)]:
        until = Cursor(key) if key is not None else None
        if until is not None and until == after:
            continue
        share = (position - begin) / total if total else 1.0
        expected = None if rows_expected is None else round(rows_expected * share)
        segments.append(Segment(len(segments), after, until, expected))
        after, begin = until, position
    return segments
