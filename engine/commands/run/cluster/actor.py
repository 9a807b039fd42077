"""A worker as an actor of Ray. This module travels as source: a node may lack all the rest of this program.

Invariant: nothing is imported here that a node with Python and Ray hasn't got.
"""

UNFIT = 2
"""Exit.UNFIT, which can't be imported where nothing is installed."""


class WorkerActor:
    """One worker, on one node, for one run."""

    def where(self) -> tuple[str, str]:
        """Return the id and the address of the node."""
        import ray

        return ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()

    def work(self, at: str, token: str, files: dict[str, bytes]) -> tuple[int, str]:
        """Dial in and work until the run is over; return the exit code and the last words.

        What it is told goes from process to process: Ray keeps and shows no arguments of an actor's method.
        """
        try:
            from engine.commands.run.cluster.on_node import take_part
        except ImportError as error:
            return (
                UNFIT,
                f"backfill isn't installed there as it is here ({error}): it must be the same version",
            )
        return take_part(at, token, files)
