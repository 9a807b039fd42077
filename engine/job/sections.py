"""What the job knows of its `source`, `target` and `state` sections, whatever kind each is.

A connector brings its own section, a model with its keys, defaults and docstrings. The job and the core see
it only through what stands here.

Invariant: a section's `type` names it in the table of its role, and no code but that table asks for it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from engine.job.section import Misfit, Section

if TYPE_CHECKING:
    from engine.job.items import ItemRule
    from engine.job.unique import Unique
    from engine.job.watermark import Watermark


class SourceSection(Section):
    """Where rows are read. A subclass has the fields that are named here, and what else its source needs."""

    FREE: ClassVar[frozenset[str]] = frozenset({"url", "batch_rows", "segments", "watermark", "unique"})
    """Keys that change nothing of what is written: how the source is reached and cut, what a later run goes
    by. What else may be gained later belongs here too."""
    CLOCK_DIGITS: ClassVar[int] = 6
    """Decimals of a second that the source's times have at most."""
    LOG_SHARED: ClassVar[bool] = False
    """Whether several jobs may go by what `log` names."""

    if TYPE_CHECKING:  # fields, which keep the order that the subclass gives them

        @property
        def type(self) -> str: ...  # noqa: D102
        @property
        def segments(self) -> Literal["auto"] | int: ...  # noqa: D102
        @property
        def batch_rows(self) -> int: ...  # noqa: D102
        @property
        def watermark(self) -> Watermark | None: ...  # noqa: D102
        @property
        def unique(self) -> Unique: ...  # noqa: D102

    @property
    def reads(self) -> str:
        """What is read, in a word or two."""
        raise NotImplementedError

    @property
    def watched(self) -> tuple[str, ...]:
        """What catch-up runs go by: each key of the job with its column or field."""
        return () if self.watermark is None else (f"source.watermark {self.watermark.column}",)

    @property
    def log(self) -> str | None:
        """The name of what catch-up runs go by in the source's log; None: they don't."""
        return None

    @property
    def named_fields(self) -> tuple[str, ...]:
        """Paths of fields that the section itself names, for a source whose documents have no schema."""
        return ()

    def same_log(self, other: "SourceSection") -> bool:
        """Say whether both go by one log, of which nothing may be let go that either needs."""
        del other
        return False

    def same_positions(self, before: str, now: str) -> bool:
        """Say whether cursors of both mean the same places; each is what `identity` says under `key`."""
        return before == now

    def decides(self) -> dict[str, Any]:
        """Return what of this section decides over what is written, for the fingerprint."""
        return self.model_dump(exclude=set(self.FREE), exclude_defaults=True)


class TargetSection(Section):
    """Where items are written. A subclass has the fields that are named here, and what its target needs."""

    DECIDES: ClassVar[frozenset[str]] = frozenset()
    """Keys that say where items go and how: what the fingerprint of a job holds of this section."""

    if TYPE_CHECKING:

        @property
        def type(self) -> str: ...  # noqa: D102
        @property
        def give_up_after_s(self) -> float: ...  # noqa: D102
        @property
        def mode(self) -> str: ...  # noqa: D102

    @property
    def writes_to(self) -> str:
        """What is written to, in a word: a table's name."""
        raise NotImplementedError

    @property
    def place(self) -> tuple[str | None, ...]:
        """What is equal in two jobs that write to one place."""
        return (self.type, self.writes_to)

    def may_be(self, other: "TargetSection") -> bool:
        """Say whether both may write to one place, under whatever names."""
        return self.place == other.place

    @property
    def rate_max(self) -> float | None:
        """A hard cap over all workers, in the target's units per second; None: no cap."""
        return None

    def in_mode(self, mode: str) -> "TargetSection":
        """Return this section in another mode that its target knows; `put` every target does."""
        assert mode == self.mode, f"a {self.type} target knows no other mode"
        return self

    @property
    def key(self) -> tuple[str, ...] | None:
        """The attributes of the key, where the section fixes them (`create`); None: the target tells."""
        return None

    @property
    def compared(self) -> str | None:
        """The attribute by which the target tells the newer of two items; None: it compares nothing."""
        return None

    @property
    def looked_into(self) -> tuple[str, ...]:
        """The attributes whose values the target looks into, as far as the job tells."""
        return ()

    def check_rules(self, rules: "Sequence[ItemRule]") -> None:
        """Check what of the rules needs no server. Raises: Misfit, `at` from the job."""

    def patient(self) -> "TargetSection":
        """Return this section with no end to refusals: for tries that are expected to be refused."""
        return self

    def decides(self) -> dict[str, Any]:
        """Return what of this section decides over what is written and where, for the fingerprint."""
        return self.model_dump(include=set(self.DECIDES))


class StateSection(Section):
    """Where progress is kept."""

    if TYPE_CHECKING:

        @property
        def type(self) -> str: ...  # noqa: D102


class Kinds:
    """The sections that one role may have, by `type`; each is loaded when a job's model is built."""

    def __init__(self, role: str) -> None:
        self.role = role
        self._load: dict[str, Callable[[], type[Section]]] = {}
        self._changed: list[Callable[[], object]] = []

    def add(self, name: str, load: Callable[[], type[Section]]) -> None:
        """Add a kind; what was built of these kinds before is built anew."""
        self._load[name] = load
        for rebuild in self._changed:
            rebuild()

    def remove(self, name: str) -> None:
        """Take a kind away again."""
        del self._load[name]
        for rebuild in self._changed:
            rebuild()

    def on_change(self, rebuild: Callable[[], object]) -> None:
        """Have this called whenever a kind was added after models had been built."""
        self._changed.append(rebuild)

    def names(self) -> tuple[str, ...]:
        """Return the kinds there are, in the order in which they were added."""
        return tuple(self._load)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Be the union of all sections, told apart by `type`."""
        choices = {name: handler.generate_schema(load()) for name, load in self._load.items()}
        return core_schema.tagged_union_schema(choices, discriminator="type")


SOURCE_KINDS, TARGET_KINDS, STATE_KINDS = Kinds("source"), Kinds("target"), Kinds("state")


def _known_source(data: Any) -> Any:
    if isinstance(data, Mapping) and data.get("type") not in SOURCE_KINDS.names():
        supported = ", ".join(SOURCE_KINDS.names())
        raise Misfit(f"it must name a kind of source that is supported: {supported}", "type")
    return data


AnySource = Annotated[SourceSection, SOURCE_KINDS, BeforeValidator(_known_source)]
AnyTarget = Annotated[TargetSection, TARGET_KINDS]
AnyState = Annotated[StateSection, STATE_KINDS]
