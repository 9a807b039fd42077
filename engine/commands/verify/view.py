"""The report of verify for a person: a verdict, a table of figures, the first differences; one screen."""

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any, TypeAlias

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from engine.amounts import counted, duration, number
from engine.commands.verify.outcome import DifferingItem, VerifyReport
from engine.masking import printable

SHOWN_MAX = 8
PARTS_SHOWN_MAX = 3
VALUE_CHARS_MAX = 48
ALIKE_CHARS_SHOWN = 12


def render(report: VerifyReport, console: Console) -> None:
    """Print a report."""
    found = report.outcome
    # Its first line is whole for programs, and in whole words for people.
    console.print(f"{printable(headline(report))}\n", markup=False, soft_wrap=not console.is_terminal)
    console.print(_set_in(verdict(report)))
    console.print()
    console.print(_figures(report))
    if found.differences:
        console.print()
        console.print(_differences(list(_rows(report)), console.width))
        if found.different > SHOWN_MAX:
            shown = f"  … and {number(found.different - SHOWN_MAX)} more; --json shows the first 100 in full"
            console.print(_set_in(shown.strip()))
    for notice in report.notices:
        console.print(_set_in(printable(f"note: {notice}")))
    console.print()
    console.print(_set_in(_next(report)))


def _set_in(sentence: str) -> Padding:
    return Padding(Text(sentence), (0, 0, 0, 2), expand=False)


def headline(report: VerifyReport) -> str:
    """Say in one line what was verified, and what wasn't looked at."""
    what = "everything" if report.full else "a sample"
    took = duration(report.elapsed_s)
    unseen = "" if report.extra_checked else "; items that no row gives were NOT looked for"
    return f"{', '.join(report.jobs)}: verified {what} against {report.table} in {took}{unseen}"


def verdict(report: VerifyReport) -> str:
    """Say in one sentence whether it is all there."""
    found = report.outcome
    if not found.different:
        return f"{counted(found.checked, 'item')} compared: 100 % consistent."
    mended = f", {number(found.repaired)} repaired" if report.repair else ""
    mended += f", {number(found.deleted)} deleted" if found.deleted else ""
    return (
        f"{counted(found.checked, 'item')} compared: {found.consistency_percent:.4f} % consistent,"
        f" {counted(found.different, 'difference')}{mended}."
    )


def _figures(report: VerifyReport) -> Table:
    found = report.outcome
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    extra = "no source row gives them" if report.extra_checked else "not looked for"
    rows = [
        ("matched", found.matched, ""),
        ("mismatched", found.mismatched, "other values than the source's"),
        ("missing", found.missing, "not in the target"),
        ("extra", found.extra, extra),
        ("dead-lettered", found.dead_lettered, "can't be written, so rightly absent"),
        ("expired", found.expired, "the target deletes them by itself, so rightly absent"),
        ("forgotten", found.forgotten, "no row gives them, but rows leave this source by themselves"),
        ("newer in target", found.newer_in_target, "mode newer: matched"),
        ("kept", found.kept, "mode insert: matched"),
        ("of earlier keys", found.former_keys, "among the extra: keys that only rules of earlier runs make"),
        ("not of this job", report.not_ours, "keys that its rules can't make"),
        ("looked at again", found.looked_again, ""),
    ]
    for name, count, note in rows:
        if count or name in ("matched", "mismatched", "missing", "extra"):
            table.add_row(name, number(count), note)
    table.add_row("read units", number(report.consumed_rcu), "")
    if found.checked:
        cpu = f"{1e6 * report.cpu_s / found.checked:.1f} us per item, {number(report.peak_rss_mb)} MB at most"
        table.add_row("CPU", duration(report.cpu_s), cpu)
    return table


_Row: TypeAlias = tuple[str, str, str, str, str]
"""The kind of a difference and its key, where they are new; a path, the source's and the target's value."""
GAP = 4
"""Between two columns."""
HEAD: _Row = ("difference", "key", "attribute", "source", "target")


def _widths(rows: Sequence[_Row], width: int) -> list[int] | None:
    """Return how wide columns beside one another are; None where a word of theirs would be broken."""
    columns = list(zip(HEAD, *rows, strict=True))
    widths = [max(map(len, " ".join(column).split())) for column in columns]
    free = width - sum(words + GAP for words in widths)
    if free < 0:
        return None
    for left, at in enumerate(range(len(columns)), start=-len(columns)):
        more = min(free // -left, max(map(len, columns[at])) - widths[at])
        widths[at] += more
        free -= more
    return widths


def _below_another(rows: Sequence[_Row]) -> Table:
    """Show differences on a narrow terminal: what would stand side by side, below one another."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for kind, key, *others in rows:
        if kind:
            table.add_row(f"  {kind}", Text(key))
        for name, text in zip(HEAD[2:], others, strict=True):
            if text:
                table.add_row(f"    {name}", Text(text))
    return table


def _differences(rows: Sequence[_Row], width: int) -> Table:
    """Show differences in columns, where these break no word; else below one another."""
    widths = _widths(rows, width)
    if widths is None:
        return _below_another(rows)
    table = Table(box=None, padding=(0, 2))
    for name, own in zip(HEAD, widths, strict=True):
        table.add_column(name, width=own)
    for kind, *others in rows:
        table.add_row(kind, *map(Text, others))
    return table


def _rows(report: VerifyReport) -> Iterator[_Row]:
    for each in report.outcome.differences[:SHOWN_MAX]:
        first: tuple[str, str] = (each.kind, " ".join(_shown(report, value) for value in each.key.values()))
        parts = _parts(report, each)
        for path, source, target in parts[:PARTS_SHOWN_MAX] or [("", "", "")]:
            yield *first, path, source, target
            first = ("", "")
        if len(parts) > PARTS_SHOWN_MAX:  # more would push the other items off the screen
            yield "", "", f"… {number(len(parts) - PARTS_SHOWN_MAX)} more", "", ""


def _parts(report: VerifyReport, item: DifferingItem) -> list[tuple[str, str, str]]:
    """List what differs in an item by its path, with both sides as they are shown."""
    return [
        (printable(name + path), *cut(_shown(report, source), _shown(report, target)))
        for name, values in item.attributes.items()
        for path, source, target in report.codec.parts(values["source"], values["target"])
    ]


def _shown(report: VerifyReport, value: Any) -> str:
    return "-" if value is None else printable(report.codec.shown(value))


def cut(source: str, target: str) -> tuple[str, str]:
    """Cut two texts to what fits a screen, so that what differs can be seen in what is left."""
    if len(source) <= VALUE_CHARS_MAX and len(target) <= VALUE_CHARS_MAX:
        return source, target
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(source, target, strict=False)))
    start = max(0, alike - ALIKE_CHARS_SHOWN) if alike >= VALUE_CHARS_MAX // 2 else 0
    return _from(source, start), _from(target, start)


def _from(text: str, start: int) -> str:
    rest = f"…{text[start:]}" if start else text
    return rest if len(rest) <= VALUE_CHARS_MAX else f"{rest[: VALUE_CHARS_MAX - 1]}…"


def _next(report: VerifyReport) -> str:
    found = report.outcome
    if not found.left:
        return "Nothing is left to do." if not found.different else "Nothing differs any more."
    if not report.repair:
        return "Next: `backfill verify --repair` writes again what is missing or differs."
    if found.extra > found.deleted:
        return "Next: look at the extra items; `--repair --full --delete-extra` deletes them."
    return "Next: look at what could not be repaired, and at the job's mode; then verify again."
