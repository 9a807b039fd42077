"""PostgreSQL as a source: types, segments, snapshots, COPY into Arrow batches."""
