"""`--runner ray`: workers that dial in, placed on the nodes of a Ray cluster.

Invariant: the runner never loads Ray. A process of its own holds the cluster (`driver`), so that a cluster
that hangs, or takes whoever is connected with it down, ends no run; and with it all that it has placed ends.
"""
