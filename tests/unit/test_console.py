"""On narrow terminals no word of a report is broken, and lines fit."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from bench import report as bench
from bench import stages
from engine.commands.plan.view import render as planned
from engine.commands.redrive.report import RedriveReport
from engine.commands.redrive.terminal import render as redriven
from engine.commands.verify import view
from engine.commands.verify.outcome import Outcome, differing_item
from engine.show import summary
from engine.show.console import fitted
from tests.support.runs import run_report, run_state
from tests.unit.test_plan_advice import plan
from tests.unit.test_verify_view import CODEC, report

WIDE = 10_000
DIRECTORY = Path(".backfill/orders")
LETTERS = {"item_too_large": 1, "number_not_finite": 1}
NOTE = "The source is a standby, which can't see the transactions open on its primary: its watermark stays."

STAGES = {
    stage: stages.Figures(stage, 200_000, 200_000, 8_000, 0, 1.5, 1.4, 10**8, 200_000, 10**8)
    for stage in stages.STAGES
}


def told() -> list[str]:
    """Return what run, status, redrive and bench print."""
    letters = run_report("complete_with_dead_letters", dead_letters_by_reason=LETTERS)
    redrive = RedriveReport("orders", left=3, tried=5)
    redrive.left_by_reason.update(LETTERS)
    state = run_state(watermark="2024-01-15T10:00:00Z")
    return [
        summary.render(letters, DIRECTORY),
        summary.render(run_report("failed", error=f"target.table: {NOTE}"), DIRECTORY),
        summary.overall([letters, run_report()], ["orders", "a-job-with-a-longer-name"]),
        summary.status("orders", state, alive=False, directory=DIRECTORY, letters_open=73),
        redriven(redrive, Path(".backfill")),
        bench.text(STAGES, "null", 2),
    ]


def verified(width: int) -> str:
    key = {"PK": {"S": "ORDER#7f6e5d4c-0000-1111-2222-333344445555"}, "SK": {"S": "CUSTOMER#0000000001"}}
    here, there = "the quick brown fox jumps over it", "the quick brown fox jumped over it"
    outcome = Outcome(matched=9)
    outcome.differs(
        differing_item(
            CODEC,
            key,
            "mismatched",
            {"Description": {"S": here}, "Items": {"L": [{"M": {"Quantity": {"N": "99"}}}]}},
            {"Description": {"S": there}, "Items": {"L": [{"M": {"Quantity": {"N": "2"}}}]}},
        )
    )
    outcome.differs(differing_item(CODEC, key, "missing", None, None))
    console = Console(file=io.StringIO(), width=width, highlight=False)
    view.render(report(outcome, notices=(NOTE,)), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 60])
def test_run_status_redrive_and_bench(width: int) -> None:
    for text in told():
        shown = fitted(text, width)
        assert shown.split() == text.split()
        assert max(map(len, shown.splitlines())) <= width
        assert fitted(text, WIDE) == text


def test_what_follows_a_figures_name_stays_below_itself() -> None:
    assert fitted("  speed         a b c", 20).splitlines() == ["  speed         a b", " " * 16 + "c"]
    assert fitted("  Next: a b c", 10).splitlines() == ["  Next: a", "  b c"]


@pytest.mark.parametrize("width", [80, 60])
def test_verify_and_plan(width: int) -> None:
    shown = verified(width)
    assert set(verified(300).split()) <= {*shown.split(), "difference", "key"}, "heads of columns aside"
    assert max(map(len, (line.rstrip() for line in shown.splitlines()))) <= width
    assert set(planned(plan(), width=300, colour=False).split()) <= set(
        planned(plan(), width=width, colour=False).split()
    )
