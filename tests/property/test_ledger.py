"""Whatever the order of acks, a mark never runs ahead of an open batch and nothing is left out."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.batch import Counts, Cursor
from engine.state.ledger import Ledger
from engine.state.prefix import Prefix
from tests.support.states import a_batch, a_letter, items_of, written


class AnyInterleaving(RuleBasedStateMachine):
    """Opens, acks and the end in any order; a model knows which batches are acked."""

    def __init__(self):
        super().__init__()
        self.ledger = Ledger(0)
        self.batches = []
        self.open_tickets = []
        self.acked = set()
        self.covered = 0
        self.reached = {}
        self.seen = (0, 0)
        self.marked = Counts()
        self.letters = []
        self.end = None
        self.source_ended = False
        self.done = False

    @precondition(lambda self: not self.source_ended)
    @rule(rows=st.integers(1, 5))
    def open(self, rows):
        number = len(self.batches)
        batch = a_batch(number, str(number), rows=rows)
        self.batches.append(batch)
        self.open_tickets.append(self.ledger.open(batch))

    @precondition(lambda self: self.open_tickets)
    @rule(which=st.integers(0, 1_000), refused=st.integers(0, 2), coalesced=st.integers(0, 1))
    def ack(self, which, refused, coalesced):
        ticket = self.open_tickets.pop(which % len(self.open_tickets))
        batch = self.batches[ticket.sequence]
        letters = tuple(a_letter(f"{ticket.sequence}.{nth}") for nth in range(refused))
        encoded = items_of(batch, batch.rows.num_rows + refused + coalesced, coalesced=coalesced)
        self.acked.add(ticket.sequence)
        self.take(self.ledger.ack(ticket, written(batch.rows.num_rows, letters), encoded))

    @precondition(lambda self: self.open_tickets)
    @rule(which=st.integers(0, 1_000), more=st.integers(1, 3))
    def reach(self, which, more):
        ticket = self.open_tickets[which % len(self.open_tickets)]
        rows = min(self.reached.get(ticket.sequence, 0) + more, ticket.rows - 1)
        if rows > 0:
            self.reached[ticket.sequence] = rows
            end = Cursor((f"{ticket.sequence}.{rows}",))
            self.take(self.ledger.reach(ticket, Prefix(rows, end, Counts(rows, rows, rows), ())))

    @precondition(lambda self: not self.source_ended)
    @rule()
    def source_ends(self):
        self.source_ended = True
        self.take(self.ledger.ended())

    @rule()
    def look(self):
        """A step that is always possible: the invariants look on."""

    def take(self, mark):
        before, self.seen = self.seen, None
        while self.covered in self.acked:
            self.covered += 1
        self.seen = self.covered, self.partly
        over = self.source_ended and self.covered == len(self.batches)
        if mark is None:
            assert self.seen == before
            assert not over
            return
        assert self.seen > before or over
        assert mark.done == over
        assert not self.done
        self.done = mark.done
        self.marked += mark.counts
        self.letters += mark.dead_letters
        self.end = mark.end

    @property
    def partly(self):
        """The rows that are settled of the batch behind those that are acked."""
        return self.reached.get(self.covered, 0) if self.covered < len(self.batches) else 0

    @invariant()
    def marks_hold_exactly_the_acked_prefix(self):
        prefix = self.batches[: self.covered]
        if self.partly:
            assert self.end == Cursor((f"{self.covered}.{self.partly}",))
        else:
            assert self.end == (Cursor((str(self.covered - 1),)) if prefix else None)
        assert self.marked.rows_read == sum(batch.rows.num_rows for batch in prefix) + self.partly
        assert self.marked.balanced
        assert len(self.letters) == self.marked.items_dead_lettered
        order = [int(letter.source_key["id"].partition(".")[0]) for letter in self.letters]
        assert order == sorted(order)
        assert all(number < self.covered for number in order)

    def teardown(self):
        """In the end, whatever the order, everything is covered and the segment is done."""
        if not self.source_ended:
            self.source_ends()
        while self.open_tickets:
            self.ack(-1, 0, 0)
        self.marks_hold_exactly_the_acked_prefix()
        assert self.done
        assert self.covered == len(self.batches)


AnyInterleaving.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestAnyInterleaving = AnyInterleaving.TestCase
