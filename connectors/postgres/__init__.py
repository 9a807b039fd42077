"""PostgreSQL as a source: types, segments, snapshots, COPY into Arrow batches."""

from connectors.postgres.source import PostgresSource, open_source

__all__ = ["PostgresSource", "open_source"]
