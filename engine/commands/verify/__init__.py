"""Whether the target holds what the source says: compared, told, and on request repaired."""
