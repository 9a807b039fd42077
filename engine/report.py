"""The report of a run: its figures as one value, as `report.json`, and as words for a person.

Invariant: every figure comes from the checkpoint (counts) or is computed from it by a pure function here, so
`run`, `status` and the file can't disagree.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

from engine.batch import Counts, Effort
from engine.contracts.feed import LogFigures
from engine.contracts.state import RunState
from engine.errors import PermanentError
from engine.exits import Exit
from engine.figures import taken
from engine.frozen import dataclass
from engine.masking import mask
from engine.meter import TABLE, quantile
from engine.own_files import replaced

COMPLETE = "complete"
COMPLETE_WITH_DEAD_LETTERS = "complete_with_dead_letters"
FAILED = "failed"
INTERRUPTED = "interrupted"
FAILED_FOR_GOOD = "failed_for_good"
"""A checkpoint's word: the run failed, and nothing that is mended lets it go on. Reports say FAILED."""

EXIT_CODES: Mapping[str, Exit] = {
    COMPLETE: Exit.DONE,
    FAILED: Exit.FAILED,
    COMPLETE_WITH_DEAD_LETTERS: Exit.DEAD_LETTERS,
    INTERRUPTED: Exit.INTERRUPTED,
}
"""What the process answers for each outcome."""


@dataclass(frozen=True, slots=True)
class Report:
    """How a run stands, in the words and the order of `report.json`; counts span its interruptions.

    Units: seconds, milliseconds, megabytes of 1,000,000 bytes, write units, as the names say; times are
    ISO 8601 in UTC.
    """

    job: str
    run_id: str
    kind: str
    outcome: str
    started_at: str
    finished_at: str | None
    resumed: bool
    rows_read: int
    rows_expected: int | None
    items_emitted: int
    items_written: int
    items_deleted: int
    items_skipped: int
    items_coalesced: int
    items_dead_lettered: int
    requests: int
    items_unprocessed: int
    requests_throttled: int
    retries: int
    consumed_wcu: Mapping[str, Any]
    elapsed_s: float
    items_per_s: float
    cpu_s: float
    cpu_us_per_item: float | None
    peak_rss_mb: float
    write_latency_ms: Mapping[str, float | None]
    segments: Mapping[str, int]
    watermark: Mapping[str, str | None]
    error: str | None
    notices: Sequence[str] = ()
    dead_letters_by_reason: Mapping[str, int] = field(default_factory=dict)
    dead_letters_open: int = 0
    """All that are kept and not settled, those of earlier runs too."""
    catch_up_lag_s: float | None = None
    """How long ago all that had been committed to the source's log by then was in the target."""
    log_retained_bytes: int | None = None
    """What the source keeps of its log for the job."""

    @property
    def counts(self) -> Counts:
        """The rows and items as a value that can tell whether it balances."""
        return taken(Counts, self)

    @property
    def exit_code(self) -> int:
        """What the process answers: done is only said where no dead letter is open, whichever run made it."""
        if self.closed:
            return Exit.DEAD_LETTERS if self.dead_letters_open else Exit.DONE
        return EXIT_CODES[self.outcome]

    @property
    def closed(self) -> bool:
        """Whether the run went to its end."""
        return self.outcome in (COMPLETE, COMPLETE_WITH_DEAD_LETTERS)

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values, the contract's fields first."""
        return {**asdict(self), "notices": list(self.notices)}


def build(
    job: str,
    state: RunState,
    *,
    outcome: str,
    notices: Sequence[str] = (),
    letters_open: int | None = None,
    log: LogFigures | None = None,
) -> Report:
    """Make the report of a run from its checkpoint. `outcome`: the word for how it stands now.

    `letters_open`: the dead letters that are kept; None: those that the run itself counts. `log`: how the
    source's log stands now, where the job goes by one.
    """
    counts, effort = state.counts, state.effort
    return Report(
        job=job,
        run_id=state.run_id,
        kind=state.kind,
        outcome=outcome,
        started_at=state.started_at,
        finished_at=state.finished_at,
        resumed=state.interruptions > 0,
        rows_expected=state.rows_expected,
        **asdict(counts),
        requests=effort.requests,
        items_unprocessed=effort.items_unprocessed,
        requests_throttled=effort.requests_throttled,
        retries=effort.retries,
        consumed_wcu=consumed_wcu(effort),
        elapsed_s=round(effort.elapsed_s, 3),
        items_per_s=items_per_s(counts, effort),
        cpu_s=round(effort.cpu_s, 3),
        cpu_us_per_item=cpu_us_per_item(counts, effort),
        peak_rss_mb=round(effort.peak_rss_bytes / 1e6, 1),
        write_latency_ms=write_latency_ms(effort),
        segments={"total": len(state.segments), "complete": sum(s.done for s in state.segments)},
        watermark={"from": state.since, "to": state.watermark},
        error=None if state.error is None else mask(state.error, os.environ),
        notices=tuple(mask(notice, os.environ) for notice in notices),
        dead_letters_by_reason=dict(state.dead_letters_by_reason),
        dead_letters_open=counts.items_dead_lettered if letters_open is None else letters_open,
        catch_up_lag_s=None if log is None or log.lag_s is None else round(log.lag_s, 3),
        log_retained_bytes=None if log is None else log.held_back_bytes,
    )


def consumed_wcu(effort: Effort) -> dict[str, Any]:
    """Split the write units into the table's own and those of each index."""
    return {
        "table": effort.consumed_wcu.get(TABLE, 0.0),
        "gsi": {name: units for name, units in sorted(effort.consumed_wcu.items()) if name != TABLE},
    }


def items_per_s(counts: Counts, effort: Effort) -> float:
    """Items that the target took or rightly left alone, per second of running time."""
    answered = counts.items_written + counts.items_deleted + counts.items_skipped
    return round(answered / effort.elapsed_s, 1) if effort.elapsed_s > 0 else 0.0


def cpu_us_per_item(counts: Counts, effort: Effort) -> float | None:
    """CPU time of all processes per item whose fate is known; None without items."""
    return round(effort.cpu_s * 1e6 / counts.items_settled, 2) if counts.items_settled else None


def write_latency_ms(effort: Effort) -> dict[str, float | None]:
    """Quantiles of the time between a request's last byte out and its answer."""

    def ms(q: float) -> float | None:
        seconds = quantile(effort.latency, q)
        return None if seconds is None else round(seconds * 1e3, 2)

    return {"p50": ms(0.50), "p95": ms(0.95), "p99": ms(0.99)}


def write(report: Report, path: Path) -> None:
    """Put the report where the last one was, whole or not at all, and on disk when this returns.

    Raises: PermanentError when the directory can't take it.
    """
    try:
        with replaced(path) as file:
            file.write(f"{json.dumps(report.as_json(), indent=2, ensure_ascii=False)}\n".encode())
    except OSError as error:
        raise PermanentError(
            f"can't write {path}: {error.strerror}; how the run ended is not changed by that,"
            " and the report on stdout has the same figures"
        ) from error
