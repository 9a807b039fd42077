"""A run in words for a person: at its end, and on request from its checkpoint.

Invariant: plain text that fits a screen, ASCII but for names that come from outside; pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from engine.amounts import aligned, bytes_text, counted, duration, number, share
from engine.contracts.feed import LogFigures
from engine.contracts.state import RunState, SegmentState
from engine.report import (
    COMPLETE,
    COMPLETE_WITH_DEAD_LETTERS,
    FAILED,
    FAILED_FOR_GOOD,
    INTERRUPTED,
    Report,
    build,
)

RUNNING = "running"
"""What `status` calls a run whose process is alive; beside the report's outcomes."""

SEGMENTS_SHOWN_MAX = 54
"""More segments than this are drawn several to a mark, so that `status` fits a screen."""

SHORT_S = 10.0
"""Below, tenths of a second tell something."""

KINDS: Mapping[str, str] = {"full": "full run", "catch_up": "catch-up run"}
PASSED: Mapping[str, str] = {
    COMPLETE: "complete",
    COMPLETE_WITH_DEAD_LETTERS: "complete, with dead letters",
    FAILED: "failed",
    INTERRUPTED: "interrupted",
    RUNNING: "running",
}


def render(report: Report, directory: Path) -> str:
    """Say how a run ended, whether it is all there, and what to do next. `directory`: where its files are."""
    lines = [f"{report.job}: {KINDS[report.kind]} {PASSED[report.outcome]} in {duration(report.elapsed_s)}"]
    lines += ["", f"  {verdict(report)}", ""]
    lines += aligned(figures(report))
    lines += aligned(("note", notice) for notice in report.notices)
    lines += ["", *(f"  {line}" for line in _next(report, directory))]
    return "\n".join(lines)


def overall(reports: Sequence[Report], jobs: Sequence[str]) -> str:
    """Say how all jobs of a file ended, those that weren't begun included, and where something is left."""
    ended = {report.job: report for report in reports}
    lines = [f"All jobs: {len(reports)} of {counted(len(jobs), 'job')} begun", ""]
    for job in jobs:
        lines += aligned([(job, _in_short(ended[job]) if job in ended else "not begun")])
    left = [report for report in reports if report.closed and report.dead_letters_open]
    letters = sum(report.dead_letters_open for report in left)
    undone = [job for job in jobs if job not in ended or not ended[job].closed]
    lines.append("")
    if letters:
        names = ", ".join(report.job for report in left)
        lines.append(f"  {counted(letters, 'dead letter')} {_be(letters)} open, of {names}.")
    if undone:
        lines.append(f"  Not complete: {', '.join(undone)}; `backfill run` goes on.")
    if not letters and not undone:
        lines.append("  Every job is complete, and no dead letter is open.")
    return "\n".join(lines)


def _in_short(report: Report) -> str:
    return (
        f"{KINDS[report.kind]} {PASSED[report.outcome]}: {counted(report.rows_read, 'row')} read,"
        f" {written(report)}, {counted(report.dead_letters_open, 'dead letter')} open"
    )


def written(report: Report) -> str:
    """Say in a line what has become of items: written, and deleted or left alone where any were."""
    others = {"deleted": report.items_deleted, "skipped": report.items_skipped}
    told = [f"{number(count)} {fate}" for fate, count in others.items() if count]
    return ", ".join([f"{counted(report.items_written, 'item')} written", *told])


def verdict(report: Report) -> str:
    """Say in one sentence whether it is all there."""
    counts = report.counts
    fates = [counted(counts.items_written, "item") + " written"]
    if counts.items_deleted:
        fates.append(f"{number(counts.items_deleted)} deleted")
    if counts.items_skipped:
        fates.append(f"{number(counts.items_skipped)} skipped (what the target has was left as it is)")
    if counts.items_coalesced:
        fates.append(f"{number(counts.items_coalesced)} coalesced (a later row had the same key)")
    fates.append(counted(counts.items_dead_lettered, "dead letter"))
    return f"{counted(counts.rows_read, 'row')} read, {', '.join(fates)}: {_ending(report)}."


def _ending(report: Report) -> str:
    if not report.counts.balanced:
        missing = report.counts.items_emitted - report.counts.items_settled
        return (
            f"THE NUMBERS DO NOT BALANCE, {counted(missing, 'item')} without a known fate; please report this"
        )
    match report.outcome:
        case "complete":
            return f"complete, the numbers balance{_still_open(report)}"
        case "complete_with_dead_letters":
            return f"every row was read, but dead letters are not in the target{_still_open(report)}"
        case "failed" | "interrupted":
            return "not complete, what is counted here is safe"
        case _:
            return "still going on"


def _still_open(report: Report) -> str:
    """Say how many dead letters are open, where those aren't just the run's own."""
    letters, own = report.dead_letters_open, report.items_dead_lettered
    if letters == own:
        return ""
    if not letters:
        return "; none of them is open any more"
    if not own:
        return f"; {counted(letters, 'dead letter')} of earlier runs {_be(letters)} still open"
    return f"; {counted(letters, 'dead letter')} {_be(letters)} open, with those of earlier runs"


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def figures(report: Report) -> Iterator[tuple[str, str]]:
    """Yield the figures behind the verdict, each with its name."""
    latency, wcu, segments = report.write_latency_ms, report.consumed_wcu, report.segments
    cpu = "" if report.cpu_us_per_item is None else f", {report.cpu_us_per_item:.1f} us of CPU per item"
    yield "speed", f"{number(report.items_per_s)} items/s{cpu}, {number(report.peak_rss_mb)} MB at most"
    yield (
        "requests",
        f"{number(report.requests)}, {number(report.requests_throttled)} throttled, "
        f"{counted(report.items_unprocessed, 'item')} sent again, {number(report.retries)} retries",
    )
    known = [f"{name} {ms:.1f} ms" for name, ms in latency.items() if ms is not None]
    if known:
        yield "latency", ", ".join(known)
    units = {"table": wcu["table"], **wcu["gsi"]}
    yield "write units", ", ".join(f"{name} {number(used)}" for name, used in units.items())
    yield "segments", f"{number(segments['complete'])} of {number(segments['total'])} complete"
    since, until = report.watermark["from"], report.watermark["to"]
    if until is not None:
        yield "watermark", f"{f'from {since} ' if since else ''}to {until}"
    if report.catch_up_lag_s is not None:
        yield "behind", behind(LogFigures(report.catch_up_lag_s, report.log_retained_bytes))
    for reason, count in sorted(report.dead_letters_by_reason.items()):
        yield "dead letters", f"{reason}: {number(count)}"


def behind(log: LogFigures) -> str:
    """Say how far the target is behind the source's log, and what the source keeps of it."""
    assert log.lag_s is not None, "it is known"
    lag = f"{log.lag_s:.1f} s" if log.lag_s < SHORT_S else duration(log.lag_s)
    kept = log.held_back_bytes
    return lag if kept is None else f"{lag}, with {bytes_text(kept)} of log kept"


def _next(report: Report, directory: Path) -> list[str]:
    follow_up = (
        [f"Next: `backfill run` catches up with what has changed since {report.watermark['to']}."]
        if report.watermark["to"] is not None
        else []
    )
    match report.outcome:
        case "complete" | "complete_with_dead_letters" if not report.dead_letters_open:
            return follow_up or ["Nothing is left to do."]
        case "complete" | "complete_with_dead_letters":
            return [
                f"Next: look at {directory / 'dead-letters.jsonl'}: a line and a reason per item.",
                "Mend the rows or the job, then `backfill redrive` tries these items again.",
                *follow_up,
            ]
        case "failed":
            return [
                f"Cause: {report.error or 'unknown'}",
                "Next: mend that, then `backfill run` goes on from the checkpoint.",
            ]
        case _:
            return ["Next: `backfill run` goes on from the checkpoint."]


def standing(state: RunState, *, alive: bool) -> str:
    """Return how a run stands now: its outcome, or running or interrupted."""
    if alive:
        return RUNNING
    return FAILED if state.outcome == FAILED_FOR_GOOD else state.outcome or INTERRUPTED


def status(
    job: str,
    state: RunState,
    *,
    alive: bool,
    directory: Path,
    letters_open: int | None = None,
    log: LogFigures | None = None,
) -> str:
    """Say how the last or current run of a job stands, from its checkpoint."""
    report = build(job, state, outcome=standing(state, alive=alive), letters_open=letters_open, log=log)
    times = report.started_at + (f", finished {report.finished_at}" if report.finished_at else "")
    lines = [
        f"{job}: {KINDS[report.kind]} {report.run_id}, {PASSED[report.outcome]}",
        *aligned([("started", times), ("resumed", counted(state.interruptions, "time"))]),
        "",
        f"  {verdict(report)}",
        "",
        *aligned([("rows", progress(report)), *figures(report)]),
    ]
    if state.segments:
        lines.append(f"  [{segment_bar(state.segments)}]  #: complete, +: begun, .: pending")
    if not alive:
        lines += ["", *(f"  {line}" for line in _next(report, directory))]
    return "\n".join(lines)


def progress(report: Report) -> str:
    """Write the rows read against those expected, and how long the rest will take while the run is alive."""
    if report.rows_expected is None or report.outcome in (COMPLETE, COMPLETE_WITH_DEAD_LETTERS):
        return number(report.rows_read)  # all there are, whatever was expected
    if report.rows_read > report.rows_expected:
        return f"{number(report.rows_read)}, more than the {number(report.rows_expected)} that were expected"
    text = f"{number(report.rows_read)} of about {number(report.rows_expected)}"
    if report.rows_expected:
        text += f" ({share(report.rows_read, report.rows_expected)})"
    left_s = eta_s(report)
    if report.outcome == RUNNING and left_s is not None:
        text += f", about {duration(left_s)} left"
    return text


def eta_s(report: Report) -> float | None:
    """Estimate the seconds that the rest takes at the run's average speed; None when it can't be said."""
    if report.rows_expected is None or not report.rows_read or report.elapsed_s <= 0:
        return None
    return max(0, report.rows_expected - report.rows_read) * report.elapsed_s / report.rows_read


def segment_bar(segments: Sequence[SegmentState]) -> str:
    """Draw one mark per segment, or per as many as make it fit: # complete, + begun, . pending."""
    width = min(len(segments), SEGMENTS_SHOWN_MAX)
    marks = []
    for mark in range(width):
        group = segments[mark * len(segments) // width : (mark + 1) * len(segments) // width]
        if all(segment.done for segment in group):
            marks.append("#")
        else:
            marks.append("+" if any(segment.done or segment.end is not None for segment in group) else ".")
    return "".join(marks)
