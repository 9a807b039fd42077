"""The job: one load from a source to a target, as the job file describes it.

Invariant: a Job that exists has passed every check that needs neither source nor target.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, PrivateAttr, Tag, model_validator

from engine.job.hook import REFERENCE, source_digest
from engine.job.items import ItemRule
from engine.job.section import Misfit, Section, SomeNames, pattern
from engine.job.sections import SOURCE_KINDS, STATE_KINDS, TARGET_KINDS, AnySource, AnyState, AnyTarget

NAME = pattern(r"^[a-z0-9_-]+$", "it may hold only lower-case letters, digits, - and _")
NAME_CHARS_MAX = 100
"""Leaves room in a file name of 255 bytes."""
FINGERPRINT_DIGITS = 16


def _hook_reference(text: str) -> str:
    if not REFERENCE.fullmatch(text):
        raise Misfit("it must be module:function, such as mypackage.jobs:enrich")
    return text


HookReference: TypeAlias = Annotated[str, AfterValidator(_hook_reference)]


class HookSection(Section):
    """A hook, and what it promises."""

    hook: HookReference
    """module:function, a function from LazyFrame to LazyFrame."""
    keeps: SomeNames
    """Columns whose values it leaves alone; it gives each row once at most. Held to it as rows go by."""


def _hook_shape(value: Any) -> str:
    return "section" if isinstance(value, (Mapping, HookSection)) else "text"


AnyHook: TypeAlias = Annotated[
    Annotated[HookReference, Tag("text")] | Annotated[HookSection, Tag("section")], Discriminator(_hook_shape)
]
"""A reference to a function, or a mapping with it and what it keeps."""


class Options(Section):
    """How values are treated."""

    nulls: Literal["omit", "keep"] = "omit"
    """SQL NULL: leave the attribute out, or write NULL."""
    on_invalid: Literal["dead_letter", "fail"] = "dead_letter"
    """An item that can't be written: keep it as a dead letter, or stop the run."""
    numbers: Literal["exact", "string"] = "exact"
    """A number that DynamoDB can't hold: a dead letter, or a string."""


class Job(Section):
    """One load: a source, a target, the rules between them."""

    model_config = ConfigDict(defer_build=True)  # the kinds of its ends are loaded when a job is made

    name: Annotated[str, Field(pattern=NAME, max_length=NAME_CHARS_MAX)]
    """Names the job's state: lower-case letters, digits, - and _."""
    source: AnySource
    """Where rows are read."""
    target: AnyTarget
    """Where items are written."""
    transform: AnyHook | None = None
    """module:function, a function from LazyFrame to LazyFrame that every batch passes before `items`."""
    items: Annotated[tuple[ItemRule, ...], Field(min_length=1)]
    """Rules by which a row becomes items; every row goes through each."""
    options: Options = Options()
    """What becomes of nulls, of items that can't be written, of numbers that DynamoDB can't hold."""
    state: AnyState = Field(default={"type": "sqlite"}, validate_default=True)
    """Where progress is kept."""
    _directory: Path = PrivateAttr(default_factory=Path.cwd)
    _variables: Mapping[str, str] = PrivateAttr(default_factory=dict)
    _written: Mapping[str, Any] | None = PrivateAttr(default=None)
    _log_mates: tuple["Job", ...] = PrivateAttr(default=())

    @property
    def hook(self) -> str | None:
        """The reference to the function that every batch passes before `items`."""
        return self.transform.hook if isinstance(self.transform, HookSection) else self.transform

    @property
    def hook_keeps(self) -> frozenset[str]:
        """The columns that the hook promises to leave alone, with each row once at most; none without it."""
        return frozenset(self.transform.keeps if isinstance(self.transform, HookSection) else ())

    @property
    def directory(self) -> Path:
        """The directory of the job file, from which the hook may be imported."""
        return self._directory

    @property
    def variables(self) -> Mapping[str, str]:
        """The values that the job file took from the environment, by name."""
        return self._variables

    @property
    def written(self) -> Mapping[str, Any] | None:
        """The job's data as its file has them, references to the environment unreplaced; None: of no file."""
        return self._written

    @property
    def log_mates(self) -> tuple["Job", ...]:
        """The other jobs of its file that go by the same log, also where `--only` leaves them out."""
        return self._log_mates

    def beside(self, mates: Sequence["Job"]) -> "Job":
        """Return this job as one that goes by a log together with others."""
        job = self.model_copy()
        job._log_mates = tuple(mates)
        return job

    def model_post_init(self, context: Any) -> None:
        """Take the job file's directory, variables and data from the validation's context."""
        if isinstance(context, Mapping):
            self._directory = Path(context["directory"])
            self._variables = context.get("variables", {})
            self._written = context.get("written")

    def fingerprint_parts(self) -> dict[str, str]:
        """Return a short digest for each part that a checkpoint of this job depends on; no secrets.

        Shape: keys `source`, `mapping`, `target`. What may change between two attempts of one run (the URL
        with its password, sizes, limits, what to do with invalid items, words on what is unique) is in none.
        Raises: JobError when the hook's module can't be found.
        """
        hook = self.hook and [self.hook, source_digest(self.hook, self.directory)]
        items = [rule.decides() for rule in self.items]
        options = self.options.model_dump(exclude={"on_invalid"}, exclude_defaults=True)
        return {
            "source": _digest(self.source.decides()),
            "mapping": _digest([items, options, hook]),
            "target": _digest(self.target.decides()),
        }

    def former_parts(self) -> dict[str, str]:
        """Return the digests that earlier versions made of this job, where they differ from today's.

        They took the watermark's column for a part of the source, and knew nothing else that may be gained.
        """
        watermark = self.source.watermark
        if watermark is None:
            return {}
        return {"source": _digest({**self.source.decides(), "watermark": watermark.column})}

    @model_validator(mode="after")
    def _check(self) -> "Job":
        keys = set(self.target.key or self.items[0].key)
        names: set[str] = set()
        for position, rule in enumerate(self.items):
            if rule.name in names:
                raise Misfit("another rule has this name", "items", position, "name")
            if set(rule.key) != keys:
                wanted = " and ".join(sorted(keys))
                whose = "the other rules have" if self.target.key is None else "target.create has"
                raise Misfit(
                    f"the key attributes must be those that {whose}: {wanted}", "items", position, "key"
                )
            names.add(rule.name)
        self.target.check_rules(self.items)
        return self


for _kinds in (SOURCE_KINDS, TARGET_KINDS, STATE_KINDS):
    _kinds.on_change(lambda: Job.model_rebuild(force=True))


def _digest(value: Any) -> str:
    """Digest a value of plain Python; a literal number differs from the text that prints alike."""
    text = json.dumps(value, sort_keys=True, default=_plain, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_DIGITS]


def _plain(value: Any) -> Any:
    assert isinstance(value, Decimal), f"no digest for {type(value).__name__}"
    return {"number": str(value)}
