"""The straight line and who drives it: pipeline, workers, coordinator, runner."""
