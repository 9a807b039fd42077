"""The job's `state` section for local files."""

from typing import Literal

from engine.job.sections import StateSection


class SqliteSection(StateSection):
    """State in files below --state."""

    type: Literal["sqlite"] = "sqlite"
    """The kind of state."""
