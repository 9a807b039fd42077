"""Requests and their answers: packing, pace, retries, settling every item exactly once."""
