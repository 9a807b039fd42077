"""How the dead letters of one job ended, as a redrive counts and tells it."""

from collections import Counter
from dataclasses import field
from typing import Any

from engine.batch import WriteReport
from engine.exits import Exit
from engine.frozen import dataclass


@dataclass(slots=True)
class RedriveReport:
    """How the letters of one job ended: tried = settled + left + dropped."""

    job: str
    tried: int = 0
    settled: int = 0
    """Their items are written, or their rows make none any more, or are gone and the log tells of that."""
    left: int = 0
    gone: int = 0
    """Of those: the row isn't in the source any more, or the rule not in the job."""
    dropped: int = 0
    items_written: int = 0
    items_deleted: int = 0
    items_skipped: int = 0
    left_by_reason: Counter[str] = field(default_factory=Counter)
    notices: list[str] = field(default_factory=list)

    def add(self, found: WriteReport) -> None:
        """Count what the target has done."""
        self.items_written += found.items_written
        self.items_deleted += found.items_deleted
        self.items_skipped += found.items_skipped

    @property
    def exit_code(self) -> int:
        """Return 3 while there are dead letters."""
        return Exit.DEAD_LETTERS if self.left else Exit.DONE

    def as_json(self) -> dict[str, Any]:
        """Return the report as `--json` prints it."""
        names = [name for name in self.__slots__ if name != "left_by_reason"]
        return {
            **{name: getattr(self, name) for name in names},
            "left_by_reason": dict(sorted(self.left_by_reason.items())),
        }
