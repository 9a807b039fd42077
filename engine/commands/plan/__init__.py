"""`backfill plan`: what a load will do, cost and lose, found out by reading only."""
