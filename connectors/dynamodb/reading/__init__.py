"""Items read back: by key and by parallel scan, consistently and within a budget."""
