"""Which rows may make the items of other rows: by which columns a source finds them. Pure.

Invariant: a row that makes a key is a peer, by the columns found here, of every other row that makes it;
where that can't be said, nothing is found.
"""

from dataclasses import dataclass

from engine.contracts.source import Sharing
from engine.rules.uniqueness import KeyProof


@dataclass(frozen=True, slots=True)
class Untold:
    """Keys don't tell which rows make them: `reason` says why, `way_out` what would change that."""

    reason: str
    way_out: str


def sharing_of(proof: KeyProof) -> Sharing | Untold:
    """Return by which columns the rows that make one key find each other, of the rules that may have such."""
    if proof.between is not None:
        return Untold(proof.between, "begin their partition or sort keys with different texts")
    unproved = [rule for rule in proof.rules if rule.reason is not None and not rule.said]
    for rule in unproved:
        if not rule.shared:
            reason = f"the key of rule {rule.rule} doesn't tell a column of the rows that make it"
            return Untold(reason, rule.way_out)
    return Sharing(tuple(dict.fromkeys(tuple(sorted(rule.shared)) for rule in unproved)))
