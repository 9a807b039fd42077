"""Whether a snapshot sees a transaction of the log: a commit is in the log before queries see it. Pure."""

from engine.frozen import dataclass

_EPOCH = 1 << 32


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot as pg_current_snapshot() prints it. Shape: 64-bit ids; `running` of those below `after`."""

    before: int
    after: int
    running: frozenset[int]

    @classmethod
    def read(cls, text: str) -> "Snapshot":
        """Return the snapshot of its text, `10:20:10,14`."""
        before, after, running = text.split(":")
        return cls(int(before), int(after), frozenset(int(part) for part in running.split(",") if part))

    def sees(self, xid: int) -> bool:
        """Say whether a transaction that has committed is seen. `xid`: its id without the epoch.

        It is no further from `after` than half the ids that there are.
        Source: PostgreSQL documentation, "Preventing Transaction ID Wraparound Failures".
        """
        behind = (self.after - xid) % _EPOCH
        whole = self.after - (behind if behind < _EPOCH // 2 else behind - _EPOCH)
        return whole < self.after and whole not in self.running
