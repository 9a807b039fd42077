"""The commands: they open both ends of a job, so they stand above the connectors, below the command line."""
