"""What verify tells at its end: for a program as JSON, for a person on one screen.

Invariant: the figures of both are the same, and the exit code follows from them alone.
"""

from dataclasses import dataclass
from typing import Any

from engine.commands.verify.findings import Findings
from engine.exits import Exit


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """A verification of jobs that write to one table. Units: seconds, megabytes, read units."""

    jobs: tuple[str, ...]
    table: str
    full: bool
    findings: Findings
    rows_read: int
    not_ours: int
    extra_checked: bool
    repair: bool
    notices: tuple[str, ...]
    elapsed_s: float
    cpu_s: float
    peak_rss_mb: float
    consumed_rcu: float

    @property
    def exit_code(self) -> int:
        """Return 0 where nothing differs any more."""
        return Exit.DIFFERENT if self.findings.left else Exit.DONE

    def as_json(self) -> dict[str, Any]:
        """Return the report as `--json` prints it."""
        found = self.findings
        return {
            "jobs": list(self.jobs),
            "table": self.table,
            "full": self.full,
            "checked": found.checked,
            "matched": found.matched,
            "mismatched": found.mismatched,
            "missing": found.missing,
            "extra": found.extra,
            "consistency_percent": found.consistency_percent,
            "differences": [each.as_json() for each in found.differences],
            "extra_checked": self.extra_checked,
            "newer_in_target": found.newer_in_target,
            "kept": found.kept,
            "dead_lettered": found.dead_lettered,
            "former_keys": found.former_keys,
            "not_ours": self.not_ours,
            "looked_again": found.looked_again,
            "repaired": found.repaired,
            "deleted": found.deleted,
            "left": found.left,
            "rows_read": self.rows_read,
            "elapsed_s": round(self.elapsed_s, 3),
            "cpu_s": round(self.cpu_s, 3),
            "cpu_us_per_item": round(1e6 * self.cpu_s / found.checked, 2) if found.checked else None,
            "peak_rss_mb": round(self.peak_rss_mb, 1),
            "consumed_rcu": self.consumed_rcu,
            "notices": list(self.notices),
        }
