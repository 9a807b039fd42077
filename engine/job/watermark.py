"""Watermarks: the column that tells when something last changed, and how far clocks may lag behind it.

Invariant: a plain name says the same as a section with nothing but `column`.
"""

from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field

from engine.job.section import Section, Text

OVERLAP = "60s"
"""By default for every source: an application that stamps rows itself does so before its transaction begins,
by a clock of its own."""
DURATION = r"^[0-9]{1,7}[smhd]$"
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


def _named(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


AnyWatermark: TypeAlias = Annotated[
    Watermark | None, BeforeValidator(_named, json_schema_input_type=Text | Watermark | None)
]
"""A column's name, or a section."""
