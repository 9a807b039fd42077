"""The protocols between the pipeline and everything that it calls.

Invariant: calls go one way, read → transform → encode → write → acknowledge → checkpoint. A source knows no
target, a target knows no checkpoint.
"""
