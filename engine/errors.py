"""The error tree: every fault of the outside world has one of these types.

Invariant: a message is one clear sentence that names what is at fault and the next step, and it never
holds a secret. A bug is an AssertionError, never one of these. What asks the outside world may raise any of
them; a docstring's `Raises:` stands where it is fewer, others, or under a condition.
"""

from engine.exits import Exit


class BackfillError(Exception):
    """A fault that the user is told about in one sentence. `job`: whose it is, where that is known."""

    exit_code = Exit.FAILED
    job = ""


class JobError(BackfillError):
    """The job file, the command line or the checkpoint doesn't fit; nothing was written."""

    exit_code = Exit.UNFIT


class PermanentError(BackfillError):
    """The outside world refused, and trying again won't help; the run is resumable once that is mended."""


class TargetUnfit(PermanentError):
    """The target isn't what the job can be written to: no worker may go on with it."""


class TransientError(BackfillError):
    """The outside world failed in a way that may pass: the caller may try again."""


class NoRoomError(TransientError):
    """A server, or a pooler before it, gives no further connection; others may leave."""


class RetriesExhausted(TransientError):
    """A transient fault outlasted the patience; the run is resumable."""
