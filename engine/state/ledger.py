"""Out-of-order acks of one segment's batches, turned into a contiguous cursor and the counts that go with it.

Invariant: a mark's end is the end of the longest prefix of rows that are all acked, never the highest ack;
every row's counts and dead letters are in exactly one mark; the mark that says `done` is the last one and
comes only when the source has ended and no batch is open. Pure: no clock, no IO, no asyncio.
"""

from collections import deque

from engine.batch import Batch, Counts, Cursor, DeadLetter, EncodedBatch, Mark, WriteReport
from engine.errors import PermanentError
from engine.frozen import dataclass
from engine.state.prefix import Prefix


@dataclass(frozen=True, slots=True)
class Ticket:
    """A batch that is under way: what its ack must show."""

    segment: int
    sequence: int
    rows: int
    end: Cursor | None


@dataclass(frozen=True, slots=True)
class _Acked:
    """What an acked batch, or the first rows of one, adds to the mark that will cover it."""

    counts: Counts
    dead_letters: tuple[DeadLetter, ...]


class Ledger:
    """The book of one reading of one segment."""

    __slots__ = (
        "_acked",
        "_end",
        "_last_opened",
        "_marked",
        "_next",
        "_open",
        "_reached",
        "_segment",
        "_source_ended",
    )

    def __init__(self, segment: int, after: Cursor | None = None) -> None:
        self._segment = segment
        self._end = after
        self._last_opened = after
        self._next = 0
        self._open: deque[Ticket] = deque()
        self._acked: dict[int, _Acked] = {}
        self._reached: dict[int, Prefix] = {}
        self._marked: Prefix | None = None
        """What marks cover already of the first open batch."""
        self._source_ended = False

    def __repr__(self) -> str:
        batches = f"open {[ticket.sequence for ticket in self._open]}, acked {[*self._acked]}"
        ended = ", source ended" if self._source_ended else ""
        return f"<Ledger of segment {self._segment}: up to {self._end}, {batches}{ended}>"

    @property
    def first_open(self) -> int | None:
        """The number of the batch that all others wait for."""
        return self._open[0].sequence if self._open else None

    def open(self, batch: Batch) -> Ticket:
        """Enter a batch that sets out.

        Ordering: by sequence, without a gap, before the source has ended.
        Raises: PermanentError when the cursor didn't advance: reading on would go in circles.
        """
        assert not self._source_ended, f"segment {self._segment}: a batch after the end of its source"
        assert batch.segment == self._segment, f"batch of segment {batch.segment} in ledger {self._segment}"
        assert batch.sequence == self._next, f"batch {batch.sequence} came, {self._next} was due"
        if batch.end is not None and batch.end == self._last_opened:
            raise PermanentError(
                f"segment {self._segment} doesn't advance: two batches in a row end at key"
                f" ({', '.join(batch.end.key)}); the source's key isn't unique,"
                " set source.key to columns that are"
            )
        assert batch.end is not None or self._last_opened is None, (
            f"segment {self._segment}: a batch without a cursor behind one that has it"
        )
        ticket = Ticket(self._segment, batch.sequence, batch.rows.num_rows, batch.end)
        self._open.append(ticket)
        self._last_opened = batch.end
        self._next += 1
        return ticket

    def ack(self, ticket: Ticket, report: WriteReport, encoded: EncodedBatch) -> Mark | None:
        """Enter that all items of a batch are written, deleted, skipped, coalesced or dead-lettered.

        Ordering: any. Returns a mark when the contiguous acked prefix has grown.
        """
        assert ticket.segment == self._segment, f"ticket of segment {ticket.segment} in {self._segment}"
        assert ticket.sequence not in self._acked, f"batch {ticket.sequence} was acked twice"
        first_open = self._open[0].sequence if self._open else self._next
        assert first_open <= ticket.sequence < self._next, (
            f"batch {ticket.sequence} of segment {self._segment} isn't open"
        )
        assert (encoded.batch.segment, encoded.batch.sequence) == (ticket.segment, ticket.sequence), (
            f"the items of batch {encoded.batch.sequence} came with the ticket of {ticket.sequence}"
        )
        self._reached.pop(ticket.sequence, None)
        self._acked[ticket.sequence] = _settle(ticket, report, encoded)
        return self._mark()

    def reach(self, ticket: Ticket, prefix: Prefix) -> Mark | None:
        """Enter that the first rows of a batch are settled while others are not.

        Ordering: any; a batch's prefixes only grow, and its ack follows or never comes.
        Returns a mark when the contiguous acked prefix has grown.
        """
        assert ticket.sequence not in self._acked, f"batch {ticket.sequence} was acked before"
        assert prefix.rows < ticket.rows, f"all rows of batch {ticket.sequence} are settled: that is an ack"
        assert prefix.counts.balanced, f"a prefix of batch {ticket.sequence} doesn't balance: {prefix.counts}"
        self._reached[ticket.sequence] = prefix
        return self._mark()

    def ended(self) -> Mark | None:
        """Enter that the source has said that nothing follows.

        Returns the last mark if nothing is open any more, else the ack of the last open batch will.
        """
        assert not self._source_ended, f"the source of segment {self._segment} ended twice"
        self._source_ended = True
        return self._mark()

    def _mark(self) -> Mark | None:
        """Move the end over the acked prefix and say what it now covers; None when nothing is new."""
        counts = Counts()
        dead_letters: list[DeadLetter] = []
        grown = False
        while self._open and self._open[0].sequence in self._acked:
            ticket = self._open.popleft()
            acked = self._beyond_marks(self._acked.pop(ticket.sequence))
            counts += acked.counts
            dead_letters += acked.dead_letters
            self._marked = None
            self._end = ticket.end
            grown = True
        reached = self._reached.get(self._open[0].sequence) if self._open else None
        if reached is not None and (self._marked is None or reached.rows > self._marked.rows):
            part = self._beyond_marks(_Acked(reached.counts, reached.dead_letters))
            counts += part.counts
            dead_letters += part.dead_letters
            self._marked = reached
            self._end = reached.end
            grown = True
        done = self._source_ended and not self._open
        if not (grown or done):
            return None
        return Mark(self._segment, self._end, counts, tuple(dead_letters), done)

    def _beyond_marks(self, acked: _Acked) -> _Acked:
        """Return what of the first open batch no mark has covered yet."""
        if self._marked is None:
            return acked
        told = {id(letter) for letter in self._marked.dead_letters}
        letters = tuple(letter for letter in acked.dead_letters if id(letter) not in told)
        return _Acked(acked.counts - self._marked.counts, letters)


def _settle(ticket: Ticket, report: WriteReport, encoded: EncodedBatch) -> _Acked:
    """Count one batch; a batch whose numbers don't balance is a bug that would lose items."""
    dead_letters = encoded.dead_letters + report.dead_letters
    counts = Counts(
        rows_read=ticket.rows,
        items_emitted=encoded.emitted,
        items_written=report.items_written,
        items_deleted=report.items_deleted,
        items_skipped=encoded.skipped + report.items_skipped,
        items_coalesced=encoded.coalesced,
        items_dead_lettered=len(dead_letters),
    )
    assert counts.balanced, f"batch {ticket.sequence} of segment {ticket.segment} doesn't balance: {counts}"
    return _Acked(counts, dead_letters)
