"""What of a log is durable, how far behind that is, and how much is looked up together."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.log_progress import PART_ROWS, PART_ROWS_BYTES, PART_ROWS_MAX, LogProgress
from connectors.postgres.feeding import LogReading
from engine.contracts.feed import LogFigures, LogPlace


def test_the_lag_is_told_by_the_servers_clock_and_only_of_what_is_durable() -> None:
    progress = LogProgress()
    assert progress.figures == LogFigures()
    progress.kept(LogPlace("0/1A", 3, "2026-01-02T03:04:05Z").cursor())
    assert progress.figures.lag_s is None, "the server hasn't been asked for its time yet"
    progress.clock_is(datetime(2026, 1, 2, 3, 4, 15, tzinfo=UTC).timestamp())
    lag_s = progress.figures.lag_s
    assert lag_s is not None
    assert 10.0 <= lag_s < 3600.0
    progress.kept(LogPlace("0/1B", 4).cursor())
    later_s = progress.figures.lag_s
    assert later_s is not None
    assert later_s >= lag_s


@pytest.mark.parametrize(
    ("batches", "took_s", "row_bytes", "expected"),
    [
        (1, 0.1, 100, PART_ROWS),  # a second at least
        (5, 1.0, 100, 5_000),
        (5, 2.5, 100, 2_000),
        (5, 50.0, 100, PART_ROWS),  # a slow target loses no more than before by a stop
        (50, 1.0, 100, PART_ROWS_MAX),
        (5, 1.0, PART_ROWS_BYTES // 3_000, 3_000),
        (5, 1.0, PART_ROWS_BYTES, PART_ROWS),
    ],
)
def test_as_much_is_looked_up_together_as_the_target_takes_in_a_second(
    monkeypatch: pytest.MonkeyPatch, batches: int, took_s: float, row_bytes: int, expected: int
) -> None:
    clock = SimpleNamespace(monotonic=lambda: 1_000.0)
    monkeypatch.setattr("connectors.log_progress.time", clock)
    progress = LogProgress()
    for number in range(1, batches + 2):
        progress.handed(number, 1_000, 1_000 * row_bytes)
    clock.monotonic = lambda: 1_000.0 + took_s
    progress.kept(LogPlace("0/1A", batches).cursor())
    assert progress.part_rows == expected
    clock.monotonic = lambda: 1_000.0 + took_s + 1.0
    progress.kept(LogPlace("0/1A", batches).cursor())
    assert progress.part_rows == expected, "nothing more was kept"
    progress.kept(LogPlace("0/1B", batches + 1).cursor())
    assert progress.part_rows == PART_ROWS, "the last one alone in its second"


@pytest.mark.parametrize(
    ("peek_s", "ago_s", "sleeps_s"),
    [(0.1, 0.0, 0.25), (0.1, 0.2, 0.05), (2.0, 0.5, 1.5), (2.0, 5.0, 0.0)],
)
async def test_looking_up_what_a_peek_gave_is_time_in_which_the_log_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, peek_s: float, ago_s: float, sleeps_s: float
) -> None:
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds, 3))

    clock = SimpleNamespace(time=lambda: 100.0)
    fake = SimpleNamespace(sleep=sleep, get_running_loop=lambda: clock)
    monkeypatch.setattr("connectors.postgres.feeding.asyncio", fake)
    no: Any = None
    reading = LogReading(no, no, LogProgress(), no, no, 0, 0, 0, moved_s=0.0)
    reading.drained, reading.peek_s, reading.peeked_s = True, peek_s, 100.0 - ago_s
    await reading.pause()
    assert slept == [sleeps_s]
