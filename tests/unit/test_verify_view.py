"""The report on one screen says what was found, and what to do next."""

import io
from dataclasses import replace

from rich.console import Console

from connectors.dynamodb.reading.codec import TableCodec
from engine.commands.verify import view
from engine.commands.verify.outcome import Outcome, VerifyReport, differing_item

CODEC = TableCodec((("PK", "S"), ("SK", "S")))
KEY = {"PK": {"S": "ORDER#7"}, "SK": {"S": "#"}}


def report(outcome, **changes):
    plain = VerifyReport(
        jobs=("orders",),
        table="shop",
        full=True,
        outcome=outcome,
        codec=CODEC,
        rows_read=10,
        not_ours=0,
        extra_checked=True,
        repair=False,
        notices=(),
        elapsed_s=2.0,
        cpu_s=0.5,
        peak_rss_mb=200.0,
        consumed_rcu=4.0,
    )
    return replace(plain, **changes)


def shown(found, width=100):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    view.render(found, console)
    return console.file.getvalue()


def damaged(kinds=("missing",), **counts):
    outcome = Outcome(matched=9, **counts)
    for kind in kinds:
        outcome.differs(differing_item(CODEC, KEY, kind, None, None))
    return outcome


def test_all_there_is_said_in_one_sentence():
    text = shown(report(Outcome(matched=1_000_000)))
    assert "1,000,000 items compared: 100 % consistent." in text
    assert "Nothing is left to do." in text
    assert "0.5 us per item, 200 MB at most" in text
    assert "newer in target" not in text


def test_one_of_many_is_never_rounded_away():
    outcome = Outcome(matched=99_999_999)
    outcome.differs(differing_item(CODEC, KEY, "missing", None, None))
    assert "99.9999 % consistent, 1 difference." in shown(report(outcome))


def test_both_values_of_what_differs_are_shown_and_long_ones_cut():
    outcome = Outcome(matched=1)
    one = {**KEY, "email": {"S": "a@x"}, "n": {"N": "1"}, "long": {"S": "x" * 100}, "gone": {"NULL": True}}
    other = {**KEY, "email": {"S": "b@x"}, "n": {"N": "2"}, "long": {"S": "y" * 100}}
    outcome.differs(differing_item(CODEC, KEY, "mismatched", one, other))
    text = shown(report(outcome), width=200)
    assert "ORDER#7 #" in text
    assert text.index("email") < text.index("a@x") < text.index("b@x")
    assert "x" * 48 not in text
    assert "xxx…" in text
    assert "… 1 more" in text


def test_what_differs_inside_an_attribute_stands_with_its_path_and_both_values():
    outcome = Outcome(matched=1)
    line = {"Quantity": {"N": "99"}, "Sku": {"S": "a"}}
    one = {**KEY, "Items": {"L": [{"M": line}, {"M": line}]}, "tags": {"SS": ["b", "a"]}}
    other = {**KEY, "Items": {"L": [{"M": {**line, "Quantity": {"N": "2"}}}]}, "tags": {"SS": ["a"]}}
    outcome.differs(differing_item(CODEC, KEY, "mismatched", one, other))
    rows = [" ".join(row.split()) for row in shown(report(outcome), width=200).splitlines()]
    assert "mismatched ORDER#7 # Items[0].Quantity 99 2" in rows
    assert 'Items[1] M {"Quantity": {"N": "99"}, "Sku": {"S": "a"}} -' in rows
    assert 'tags SS ["a", "b"] SS ["a"]' in rows


def test_a_cut_value_shows_where_it_differs():
    same = "x" * 100
    source, target = view.cut(f"{same}left{same}", f"{same}right{same}")
    assert source.startswith("…xxxxxxxxxxxxleft")
    assert target.startswith("…xxxxxxxxxxxxright")
    assert len(source) == len(target) == view.VALUE_CHARS_MAX
    assert view.cut("a" * 100, "b") == ("a" * 47 + "…", "b")


def test_only_the_first_differences_fill_the_screen():
    text = shown(report(damaged(["missing"] * 20)))
    assert text.count("ORDER#7") == view.SHOWN_MAX
    assert "… and 12 more; --json shows the first 100 in full" in text


def test_what_the_mode_explains_is_named():
    outcome = Outcome(matched=5, newer_in_target=2, kept=1, dead_lettered=3, expired=2, forgotten=1)
    text = shown(report(outcome, not_ours=4))
    for words in (
        "mode newer: matched",
        "mode insert: matched",
        "deletes them by itself",
        "leave this source",
        "its rules can't make",
    ):
        assert words in text


def test_markup_in_data_is_only_text():
    outcome = Outcome()
    outcome.differs(differing_item(CODEC, {"PK": {"S": "[red]x[/red]"}}, "extra", None, None))
    text = shown(report(outcome, notices=("a [bold]notice[/bold]",)))
    assert "[red]x[/red]" in text
    assert "[bold]notice[/bold]" in text


def test_the_next_step_fits_what_is_left():
    def following(outcome, **changes):
        return shown(report(outcome, **changes)).strip().splitlines()[-1].strip()

    assert following(damaged()).startswith("Next: `backfill verify --repair`")
    assert "--delete-extra" in following(damaged(["extra"]), repair=True)
    assert "could not be repaired" in following(damaged(), repair=True)
    assert following(damaged(repaired=1), repair=True) == "Nothing differs any more."
    assert "extra       1  not looked for" not in shown(report(damaged(["extra"])))


def test_extra_items_that_nobody_looked_for_are_not_called_none():
    text = shown(report(Outcome(matched=1), extra_checked=False, full=False))
    assert "verified a sample against shop in 2.0 s; items that no row gives were NOT looked for" in text
    assert "NOT" not in shown(report(Outcome(matched=1)))
