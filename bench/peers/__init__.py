"""The tools that users reach for today, each loading the same orders as a competent user would write it."""
