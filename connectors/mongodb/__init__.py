"""MongoDB as a source: raw BSON batches into Arrow, no value guessed."""
