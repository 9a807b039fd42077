"""How amounts are written for people: counts, bytes, spans of time.

Invariant: pure, ASCII, the same on every terminal.
"""

from collections.abc import Iterable

NAME_WIDTH = 14


def number(value: float) -> str:
    """Write a count with thousands separated."""
    return f"{value:,.0f}"


def counted(value: int, noun: str, plural: str | None = None) -> str:
    """Write a count with its noun in the right number; its plural has an s unless it is given."""
    return f"{number(value)} {noun if value == 1 else plural or noun + 's'}"


def share(part: float, whole: float) -> str:
    """Write how much of the whole there is, never more than all; of nothing it is all."""
    return f"{min(100.0, 100 * part / whole) if whole else 100.0:.0f} %"


def aligned(figures: Iterable[tuple[str, str]]) -> list[str]:
    """Write a report's figures, a line each: their names, and their texts below one another."""
    return [f"  {name + ' ':<{NAME_WIDTH}}{text}" for name, text in figures]


def duration(seconds: float) -> str:
    """Write a time span to the precision that a person wants."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h {minutes:02d} min"
    return f"{hours} h {minutes:02d} min {rest:02d} s" if hours else f"{minutes} min {rest:02d} s"


def bytes_text(count: float) -> str:
    """Write a size in the unit that leaves few digits; a KB has 1,000 bytes."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count:.0f} B"
