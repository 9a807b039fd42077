"""How a run would keep equal keys in their order: of each rule which way it goes, why, and what that costs.

Invariant: the way is the one that the run itself would choose; pure.
"""

from collections.abc import Iterator

from engine.amounts import bytes_text, counted
from engine.commands.run.key_notes import HASH, WRITTEN
from engine.commands.run.ways import Foreseen, WayName
from engine.frozen import dataclass
from engine.rules.uniqueness import KeyProof


@dataclass(frozen=True, slots=True)
class KeyWay:
    """The way of one rule, or of `all` where two of them may meet. `way_out`: what would prove its keys."""

    rule: str
    way: WayName
    why: str
    cost: str
    way_out: str | None


def key_ways(proof: KeyProof, foreseen: Foreseen, rows: int, items: int) -> tuple[KeyWay, ...]:
    """Say which way the keys of each rule go. `rows`, `items`: how many there are."""
    return tuple(_ways(proof, foreseen, _cost(foreseen.name, rows, items)))


def _ways(proof: KeyProof, foreseen: Foreseen, cost: str) -> Iterator[KeyWay]:
    for rule in proof.rules:
        if rule.reason is None:
            yield KeyWay(rule.rule, "proved", f"{rule.by} is one row's alone", "nothing", None)
        else:
            yield KeyWay(rule.rule, foreseen.name, _why(rule.reason, foreseen), cost, rule.way_out)
    if proof.between is not None:
        yield KeyWay("all", foreseen.name, _why(proof.between, foreseen), cost, proof.way_out_between)


def _why(reason: str, foreseen: Foreseen) -> str:
    return reason if foreseen.why is None else f"{reason}; {foreseen.why}"


def _cost(name: WayName, rows: int, items: int) -> str:
    match name:
        case "proved":
            return "nothing"
        case "said":
            return f"{bytes_text(WRITTEN.itemsize * items)} of disk, compared at the end"
        case "settled":
            disk = bytes_text(HASH.itemsize * items)
            return f"the keys of {counted(rows, 'row')} are read first; {disk} of disk"
        case "in order":
            return "one cursor in one process reads everything"
