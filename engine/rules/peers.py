"""Which rows may make the items of other rows: by which columns a source finds them. Pure.

Invariant: a row that makes a key is a peer, by the columns found here, of every other row that makes it;
where that can't be said, nothing is found.
"""

from collections.abc import Sequence

from engine.contracts.source import Sharing
from engine.frozen import dataclass
from engine.rules.uniqueness import KeyProof, RuleKeys


@dataclass(frozen=True, slots=True)
class Untold:
    """Keys don't tell which rows make them: `reason` says why, `way_out` what would change that."""

    reason: str
    way_out: str


def sharing_of(proof: KeyProof) -> Sharing | Untold:
    """Return by which columns the rows that make one key find each other, of the rules that may have such."""
    if proof.between is not None:
        return Untold(proof.between, proof.way_out_between)
    unproved = [rule for rule in proof.rules if rule.reason is not None and not rule.said]
    for rule in unproved:
        if not rule.shared:
            return Untold(_blind(rule), rule.way_out)
    return _by(unproved)


def sharing_by_log(proof: KeyProof) -> Sharing | Untold | None:
    """Return by which columns rows find each other for a log, which no word on keys is about; None: by none.

    A word is about rows that give items, as they are committed: the log tells also of those that are left out
    by `where` and `when`, and of what a row had for a moment within a transaction.
    """
    if proof.between is not None:
        return Untold(proof.between, proof.way_out_between)
    unproved = [rule for rule in proof.rules if rule.reason is not None and not rule.row_told]
    for rule in unproved:
        if not rule.shared:
            return Untold(_blind(rule), rule.way_out)
    return _by(unproved) if unproved else None


def _blind(rule: RuleKeys) -> str:
    return f"the key of rule {rule.rule} doesn't tell a column of the rows that make it"


def _by(rules: Sequence[RuleKeys]) -> Sharing:
    return Sharing(tuple(dict.fromkeys(tuple(sorted(rule.shared)) for rule in rules)))
