"""Dead letters, tried again from their source rows."""
