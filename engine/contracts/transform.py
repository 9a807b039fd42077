"""What the item rules make of rows: items in columns."""

from collections.abc import Sequence
from typing import Protocol

import polars as pl

from engine.batch import Batch
from engine.frozen import dataclass
from engine.kinds import Kind


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute that a rule gives its items: its name in the target and the kind of its values."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class RuleItems:
    """What one rule makes of one batch: a frame with a row per item.

    Shape: `frame` has a column per attribute, named by its position (`"0"`, `"1"` …) and held as its kind
    says (strings as Polars String, lists as List, documents as Struct); then `ROW` (UInt32, index of the
    source row in the batch), `DELETE` (Boolean), and `FLAW` (String: null, or `reason: detail` for an item
    that the transform already knows can't be written). Null means that the attribute is left out, or NULL
    with `nulls: keep`.
    Ordering: source rows in their order, the elements of one row in theirs.
    """

    rule: int
    name: str
    attributes: tuple[Attribute, ...]
    frame: pl.DataFrame


ROW, DELETE, FLAW = "row", "delete", "flaw"


@dataclass(frozen=True, slots=True)
class RuleShape:
    """What one rule gives for every batch: its name, and its items' attributes, those of the key first."""

    name: str
    attributes: tuple[Attribute, ...]


class Transform(Protocol):
    """The item rules, compiled once. Pure and safe to call from several threads."""

    @property
    def rules(self) -> Sequence[RuleShape]:
        """What each rule gives, in the rules' order."""

    def __call__(self, batch: Batch) -> Sequence[RuleItems]:
        """Turn a batch of rows into the items of every rule, in the rules' order."""
