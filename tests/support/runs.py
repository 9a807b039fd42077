"""Runs as values, for tests of what the user sees of them."""

from dataclasses import replace
from typing import Any

from engine.batch import Counts, Cursor, Effort, Segment
from engine.contracts.state import RunState, SegmentState
from engine.events import RunStarted, SegmentTally, Tick
from engine.meter import Meter, MeterTotals
from engine.report import COMPLETE, COMPLETE_WITH_DEAD_LETTERS, Report, build

COUNTS = Counts(
    rows_read=1_000_000,
    items_emitted=1_000_000,
    items_written=999_000,
    items_deleted=500,
    items_skipped=200,
    items_coalesced=300,
    items_dead_lettered=0,
)


def run_state(**changes: object) -> RunState:
    """A full run that is complete, but for the changes."""
    segments = tuple(
        SegmentState(Segment(number, None, None, 250_000), Cursor((str(number),)), done=True)
        for number in range(4)
    )
    state = replace(
        RunState.begun("20240115T100000Z-ab12", "full", ()),
        started_at="2024-01-15T10:00:00Z",
        finished_at="2024-01-15T10:00:08Z",
        outcome="complete",
        rows_expected=1_000_000,
        segments=segments,
        counts=COUNTS,
        effort=Effort(
            requests=40_012,
            items_unprocessed=300,
            requests_throttled=12,
            retries=12,
            elapsed_s=8.0,
            cpu_s=7.4,
            peak_rss_bytes=310_400_000,
            consumed_wcu={"": 1_000_000.0, "ByEmail": 500_000.0},
            latency={10: 20_000, 11: 20_012},
        ),
    )
    return replace(state, **changes)  # type: ignore[arg-type]


def run_report(outcome: str = COMPLETE, **changes: object) -> Report:
    """The report of such a run; one with dead letters has two."""
    if outcome == COMPLETE_WITH_DEAD_LETTERS:
        changes = {"counts": replace(COUNTS, items_written=998_998, items_dead_lettered=2), **changes}
    letters: Any = changes.pop("letters_open", None)
    return build("orders", run_state(**changes), outcome=outcome, letters_open=letters)


def run_started(**changes: object) -> RunStarted:
    """The beginning of such a run."""
    started = RunStarted(
        job="orders",
        run_id="20240115T100000Z-ab12",
        kind="full",
        resumed=False,
        rows_expected=1_000_000,
        source="public.orders",
        target="app-data",
        workers=2,
        started_at="2024-01-15T10:00:00Z",
        counts=Counts(),
    )
    return replace(started, **changes)  # type: ignore[arg-type]


def totals() -> MeterTotals:
    """Figures of which no two are alike."""
    meter = Meter(
        rows_read=101,
        items_written=102,
        items_deleted=103,
        items_skipped=104,
        items_coalesced=105,
        items_unprocessed=106,
        retries=107,
        requests_in_flight=16,
        rate_limit=4_000.0,
    )
    meter.dead_lettered["key_null"] = 3
    meter.throttled["partition"] = 4
    meter.consumed[""] = 500.5
    meter.consumed["ByEmail"] = 250  # an index
    meter.stage_s["encode"] = 1.5
    meter.answered("ok", 0.004)
    meter.answered("partial", 0.004)
    meter.answered("ok", 500.0)
    return meter.snapshot()


def tick(at_s: float = 0.0, **changes: object) -> Tick:
    """A moment of such a run."""
    moment = Tick(at_s, MeterTotals(), Counts(), SegmentTally(4, 1, 2, 1), 0.4, at_s)
    return replace(moment, **changes)  # type: ignore[arg-type]
