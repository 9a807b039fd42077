"""What helps where a source's log hasn't told all that has changed: one advice for all sources."""

_SETTLE = "`backfill verify JOB --full --repair --delete-extra`"
AFRESH = f"load everything again with --fresh, or settle it with {_SETTLE}"
