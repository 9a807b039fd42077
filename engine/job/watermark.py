"""Watermarks: the column that tells when something last changed, and how far clocks may lag behind it.

Invariant: a plain name says the same as a section with nothing but `column`.
"""

from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field

from engine.job.section import Section, Text, pattern

OVERLAP = "60s"
"""By default for every source: an application that stamps rows itself does so before its transaction begins,
by a clock of its own."""
DURATION = pattern(r"^[0-9]{1,7}[smhd]$", "it must be a duration: 30s, 10m, 2h or 1d")
REREAD_ROWS_MAX = 100_000
"""Up to so many rows of an overlap are counted: that must cost little beside reading them."""
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Watermark(Section):
    """What brings a row into a catch-up run."""

    column: Text
    """The column, or field, that says when a row last changed."""
    overlap: Annotated[str, Field(pattern=DURATION)] = OVERLAP
    """How much earlier than the last run's start a catch-up run reads from: 30s, 10m, 2h, 1d."""

    @property
    def overlap_s(self) -> int:
        """The overlap in seconds."""
        return int(self.overlap[:-1]) * _UNITS_S[self.overlap[-1]]

    def rereads(self, rows: int | None, *, planned: bool) -> str:
        """Say what the overlap costs: a write for each row. `rows`: how many, None when not known.

        `planned`: it is to come, and `rows` are those that have changed lately.
        """
        count = f"more than {REREAD_ROWS_MAX:,}" if (rows or 0) > REREAD_ROWS_MAX else f"{rows or 0:,}"
        if planned:
            lately = "" if rows is None else f" (lately: {count})"
            return (
                f"Each catch-up run reads and writes again what changed within {self.overlap} before the last"
                f" one's watermark, for clocks that lag (source.watermark.overlap){lately}."
            )
        how_many = "What" if rows is None else f"{count} {'row' if rows == 1 else 'rows'} that"
        verb = "is" if rows is None or rows == 1 else "are"
        return (
            f"{how_many} changed within {self.overlap} before the last run's watermark {verb} read and"
            " written again, for clocks that lag (source.watermark.overlap)."
        )


def _named(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


AnyWatermark: TypeAlias = Annotated[
    Watermark | None, BeforeValidator(_named, json_schema_input_type=Text | Watermark | None)
]
"""A column's name, or a section."""
