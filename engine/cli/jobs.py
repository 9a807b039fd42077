"""What commands do alike: load the job file."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.signals import held
from engine.environment import tune

if TYPE_CHECKING:
    from engine.job.model import Job


def load_jobs(job_file: Path, overrides: Sequence[str], only: str | None) -> "Sequence[Job]":
    """Load the jobs that the command line names, with the libraries set up for what follows."""
    tune()
    with held():
        import connectors  # noqa: F401 - fills the tables of what a job may name
        from engine.job import file as jobfile

        return jobfile.load(job_file, overrides, os.environ, only=only)
