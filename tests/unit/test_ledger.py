"""A ledger that is wrong loses rows (runs ahead) or counts them twice."""

import pytest

from engine.batch import Counts, Cursor, WriteReport
from engine.errors import PermanentError
from engine.state.ledger import Ledger
from engine.state.prefix import Prefix
from tests.support.states import a_batch, a_letter, items_of, written


def ack(ledger, ticket, batch, **kinds):
    letters = kinds.pop("refused", ())
    encoded = items_of(batch, 3, **kinds)
    rest = 3 - len(letters) - encoded.coalesced - encoded.skipped - len(encoded.dead_letters)
    return ledger.ack(ticket, written(rest, letters), encoded)


def test_a_later_ack_waits_for_the_earlier_one():
    ledger = Ledger(0)
    batches = [a_batch(0, "10"), a_batch(1, "20"), a_batch(2, "30")]
    tickets = [ledger.open(batch) for batch in batches]
    assert ack(ledger, tickets[2], batches[2]) is None
    assert ack(ledger, tickets[1], batches[1]) is None
    assert repr(ledger) == "<Ledger of segment 0: up to None, open [0, 1, 2], acked [2, 1]>"
    mark = ack(ledger, tickets[0], batches[0])
    assert mark.end == Cursor(("30",))
    assert mark.counts == Counts(rows_read=9, items_emitted=9, items_written=9)
    assert not mark.done


def test_a_mark_covers_only_what_is_contiguous():
    ledger = Ledger(0)
    batches = [a_batch(0, "10"), a_batch(1, "20"), a_batch(2, "30")]
    tickets = [ledger.open(batch) for batch in batches]
    ack(ledger, tickets[2], batches[2], refused=(a_letter("30"),))
    mark = ack(ledger, tickets[0], batches[0], letters=(a_letter("10"),))
    assert mark.end == Cursor(("10",))
    assert [letter.source_key["id"] for letter in mark.dead_letters] == ["10"]
    mark = ack(ledger, tickets[1], batches[1])
    assert mark.end == Cursor(("30",))
    assert [letter.source_key["id"] for letter in mark.dead_letters] == ["30"]
    assert mark.counts.items_dead_lettered == 1


def test_every_fate_is_counted():
    ledger = Ledger(0)
    batch = a_batch(0, "10", rows=5)
    encoded = items_of(batch, 7, coalesced=1, skipped=1, letters=(a_letter("1"),))
    report = WriteReport(items_written=1, items_deleted=1, items_skipped=1, dead_letters=(a_letter("2"),))
    mark = ledger.ack(ledger.open(batch), report, encoded)
    assert mark.counts == Counts(
        rows_read=5,
        items_emitted=7,
        items_written=1,
        items_deleted=1,
        items_skipped=2,
        items_coalesced=1,
        items_dead_lettered=2,
    )


def test_done_comes_with_the_last_ack_after_the_end():
    ledger = Ledger(0)
    batch = a_batch(0, "10")
    ticket = ledger.open(batch)
    assert ledger.ended() is None
    assert ack(ledger, ticket, batch).done


def test_done_comes_with_the_end_after_the_last_ack():
    ledger = Ledger(0)
    batch = a_batch(0, "10")
    assert not ack(ledger, ledger.open(batch), batch).done
    mark = ledger.ended()
    assert (mark.end, mark.counts, mark.done) == (Cursor(("10",)), Counts(), True)


@pytest.mark.parametrize("after", [None, Cursor(("7",))])
def test_a_segment_without_rows_is_done_where_it_stood(after):
    mark = Ledger(4, after).ended()
    assert (mark.segment, mark.end, mark.counts, mark.done) == (4, after, Counts(), True)


def test_a_source_without_a_key_has_no_cursor():
    ledger = Ledger(0)
    batches = [a_batch(0, None), a_batch(1, None)]
    tickets = [ledger.open(batch) for batch in batches]
    assert ack(ledger, tickets[0], batches[0]).end is None
    assert ack(ledger, tickets[1], batches[1]).end is None
    assert ledger.ended().done


@pytest.mark.parametrize("after", [None, Cursor(("10",))])
def test_a_cursor_that_does_not_advance_is_told(after):
    ledger = Ledger(0, after)
    if after is None:
        ledger.open(a_batch(0, "10"))
    with pytest.raises(PermanentError, match=r"doesn't advance.*\(10\).*source\.key"):
        ledger.open(a_batch(1 if after is None else 0, "10"))


def test_a_lost_item_is_a_bug():
    ledger = Ledger(0)
    batch = a_batch(0, "10")
    with pytest.raises(AssertionError, match="doesn't balance"):
        ledger.ack(ledger.open(batch), written(2), items_of(batch, 3))


def test_an_ack_twice_is_a_bug():
    ledger = Ledger(0)
    batches = [a_batch(0, "10"), a_batch(1, "20")]
    tickets = [ledger.open(batch) for batch in batches]
    ack(ledger, tickets[1], batches[1])
    with pytest.raises(AssertionError, match="twice"):
        ack(ledger, tickets[1], batches[1])
    ack(ledger, tickets[0], batches[0])
    with pytest.raises(AssertionError, match="isn't open"):
        ack(ledger, tickets[0], batches[0])


def test_an_ack_with_the_items_of_another_batch_is_a_bug():
    ledger = Ledger(0)
    batches = [a_batch(0, "10"), a_batch(1, "20")]
    tickets = [ledger.open(batch) for batch in batches]
    with pytest.raises(AssertionError, match="ticket of 0"):
        ack(ledger, tickets[0], batches[1])


def test_batches_out_of_order_or_after_the_end_are_bugs():
    ledger = Ledger(0)
    with pytest.raises(AssertionError, match="was due"):
        ledger.open(a_batch(1, "20"))
    with pytest.raises(AssertionError, match="in ledger 0"):
        ledger.open(a_batch(0, "20", segment=1))
    ledger.ended()
    with pytest.raises(AssertionError, match="after the end"):
        ledger.open(a_batch(0, "10"))


def reached(rows, *letters):
    counts = Counts(rows, rows, items_written=rows - len(letters), items_dead_lettered=len(letters))
    return Prefix(rows, Cursor((str(rows),)), counts, letters)


def test_the_first_rows_of_a_batch_are_marked_before_its_ack():
    ledger = Ledger(0)
    batch = a_batch(0, "30")
    ticket, letters = ledger.open(batch), (a_letter("1"), a_letter("3"))
    mark = ledger.reach(ticket, reached(1, letters[0]))
    assert (mark.end, mark.dead_letters, mark.done) == (Cursor(("1",)), letters[:1], False)
    assert mark.counts == Counts(1, 1, items_dead_lettered=1)
    assert ledger.reach(ticket, reached(1, letters[0])) is None
    mark = ledger.reach(ticket, reached(2, letters[0]))
    assert (mark.end, mark.counts, mark.dead_letters) == (Cursor(("2",)), Counts(1, 1, items_written=1), ())
    mark = ack(ledger, ticket, batch, refused=letters)
    assert (mark.end, mark.dead_letters) == (Cursor(("30",)), letters[1:])
    assert mark.counts == Counts(1, 1, items_dead_lettered=1)


def test_the_first_rows_of_a_later_batch_wait_for_the_batch_before():
    ledger = Ledger(0)
    batches = [a_batch(0, "10"), a_batch(1, "20")]
    tickets = [ledger.open(batch) for batch in batches]
    assert ledger.first_open == 0
    assert ledger.reach(tickets[1], reached(2)) is None
    mark = ack(ledger, tickets[0], batches[0])
    assert (mark.end, mark.counts.rows_read) == (Cursor(("2",)), 5)
    assert ledger.first_open == 1
    assert ack(ledger, tickets[1], batches[1]).counts == Counts(1, 1, items_written=1)
    assert ledger.ended().done
