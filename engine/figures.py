"""Values that are nothing but figures: how they add up, field by field.

Invariant: pure. A sum has the type of its parts; a tally (key → number) adds up key by key, a peak is the
higher of two, and everything else is a number.
"""

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any, Final, Self, TypeVar

from engine.frozen import dataclass

_Figures = TypeVar("_Figures")

_PEAK: Final = "peak"


def peak(default: int = 0) -> Any:
    """Declare a figure that doesn't add up: of two parts the higher one counts."""
    return field(default=default, metadata={_PEAK: True})


@dataclass(frozen=True, slots=True)
class Additive:
    """A value whose fields are figures. Its fields' defaults are what nothing has: the neutral element."""

    def __add__(self, other: Self) -> Self:
        return type(self)(
            *(
                (max if _PEAK in f.metadata else _sum)(getattr(self, f.name), getattr(other, f.name))
                for f in fields(self)
            )
        )


def taken(kind: type[_Figures], source: Any) -> _Figures:
    """Return the figures of this kind that another value has under the same names, as they are now."""
    values = (getattr(source, f.name) for f in fields(kind))  # type: ignore[arg-type]
    return kind(*(dict(each) if isinstance(each, Mapping) else each for each in values))


def _sum(one: Any, other: Any) -> Any:
    if isinstance(one, Mapping):
        return dict(one) | {key: one.get(key, 0) + number for key, number in other.items()}
    return one + other
