"""The commands: they open both ends of a job, so they stand above the connectors, below the command line."""

import connectors  # noqa: F401 - fills the tables of what a job may name
