"""What both ends tell `init`: a source what it saw, a target what it would make of it.

Invariant: lines are YAML of the job file, without their indentation; nothing of a URL is among them.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from engine.frozen import dataclass
from engine.kinds import Kind


@dataclass(frozen=True, slots=True)
class FieldSeen:
    """A column or field: its kind, where the source knows one, and what else is to be told of it."""

    name: str
    kind: Kind | None
    told: str


@dataclass(frozen=True, slots=True)
class Starter:
    """A source as a starter job has it.

    Shape: `about` are the sentences that open the file, `fields_are` the one before its fields, in which
    `{type}` is what the target calls a type; `url` is an example. `section` holds the lines of the `source`
    section but for its type and URL. `key` names the fields that tell rows apart, the first for the
    partition; `proved`: something proves it. `single`: a field by which single rows are looked up besides.
    `rule` are the rule's lines behind its key, `more` those at its end.
    """

    name: str
    about: Sequence[str]
    url: str
    fields: Sequence[FieldSeen]
    fields_are: str
    section: Sequence[str]
    key: Sequence[str]
    rule: Sequence[str]
    proved: bool = True
    single: str | None = None
    more: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class SourceStarter:
    """How `init` comes to a source.

    `schemes` are what its URLs begin with, in small letters, the usual one first; `example` is such a URL.
    `look` looks at what a URL and the command line's options (`table`, `collection`, `database`) name.
    """

    schemes: tuple[str, ...]
    example: str
    look: Callable[[str, Mapping[str, str | None]], Coroutine[Any, Any, Starter]]


class TargetStarter(Protocol):
    """How `init` writes for a target."""

    @property
    def types_are(self) -> str:
        """What its types are called."""

    def type_of(self, kind: Kind) -> str:
        """Return the type that values of a kind have in the target."""

    def section(self, name: str, key: tuple[str, str], *, single: bool) -> Sequence[str]:
        """Return the lines of the `target` section, but for its type, for a source of that name.

        `single`: items are to be found by one more attribute.
        """
