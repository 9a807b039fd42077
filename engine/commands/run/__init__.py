"""`backfill run`: both ends opened and checked, the workers started, the outcome kept."""
