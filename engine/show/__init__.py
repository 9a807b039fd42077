"""What people see of a run: progress, metrics, summaries, status, logs."""
