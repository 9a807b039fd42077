"""Cuts a source into segments that are even by rows, at keys that the server has chosen.

Invariant: the segments are disjoint and cover every key; the first is open below and the last above.
"""

from collections.abc import Sequence
from typing import Any

from connectors.postgres.errors import checking
from connectors.postgres.sql import Shape, boundaries_sql
from engine.batch import Cursor, Segment

SAMPLED_PAGES_MIN, SAMPLED_PAGES_PER_SEGMENT = 8_000, 500
"""Rows of one page are neighbours, so it is the pages that make a sample even: 500 give about 4 %."""
SAMPLED_ROWS_PER_SEGMENT_MIN = 20
_WHOLE_SHARE = 0.5
"""Where a sample would take this share of the table, all of it is looked at instead."""


async def cut(connection: Any, shape: Shape, wanted: int, rows_expected: int | None) -> Sequence[Segment]:
    """Cut into about `wanted` segments. Call inside the snapshot."""
    if wanted <= 1 or not shape.key:
        return (Segment(0, None, None, rows_expected),)
    async with checking("source.segments"):
        rows: Sequence[Any] = ()
        percent = sample_percent(shape, wanted)
        if percent is not None:
            rows = await connection.fetch(boundaries_sql(shape, wanted, percent))
            if not rows or rows[0]["total"] < wanted * SAMPLED_ROWS_PER_SEGMENT_MIN:
                percent = None
        if percent is None:
            rows = await connection.fetch(boundaries_sql(shape, wanted, None))
    boundaries = [(tuple(row.values())[: len(shape.key)], row["position"]) for row in rows]
    total = rows[0]["total"] if rows else 0
    whole = total if percent is None else rows_expected
    return between(boundaries, total, whole if rows else rows_expected)


def sample_percent(shape: Shape, wanted: int) -> float | None:
    """Return the share of the pages to look at, in percent; None: all rows."""
    pages = max(SAMPLED_PAGES_MIN, SAMPLED_PAGES_PER_SEGMENT * wanted)
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
