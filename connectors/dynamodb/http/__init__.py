"""Signed requests over connections of our own."""
