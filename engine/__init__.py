"""The engine of `backfill`: everything between a source and a target that is neither."""

__version__ = "0.1.0"
