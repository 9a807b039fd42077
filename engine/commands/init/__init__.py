"""`backfill init`: a starter job file from what a source looks like."""
