"""Figures add up field by field, whatever they are figures of."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import field
from types import SimpleNamespace

from engine.figures import Additive, peak, taken
from engine.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Some(Additive):
    items: int = 0
    seconds: float = 0.0
    highest: int = peak()
    by_reason: Mapping[str, int] = field(default_factory=dict)


def test_numbers_and_tallies_add_up_and_of_peaks_the_higher_one_counts() -> None:
    whole = Some(1, 0.5, 7, {"a": 1}) + Some(2, 0.25, 3, {"a": 1, "b": 4})
    assert whole == Some(3, 0.75, 7, {"a": 2, "b": 4})
    assert type(whole) is Some


def test_a_new_value_is_the_neutral_element() -> None:
    some = Some(1, 0.5, 7, {"a": 1})
    assert some + Some() == Some() + some == some


def test_what_is_taken_of_another_value_no_longer_changes_with_it() -> None:
    live = SimpleNamespace(items=1, seconds=2.0, highest=3, by_reason=Counter(a=1), more="unasked")
    some = taken(Some, live)
    live.by_reason["a"] += 1
    assert some == Some(1, 2.0, 3, {"a": 1})
    assert type(some.by_reason) is dict
