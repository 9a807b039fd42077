"""What all sections of the job file have in common: frozen, no unknown keys, faults that have a place.

Invariant: a message says what doesn't fit and what to do, and never repeats a value, which may be a secret.
"""

import ast
import inspect
from collections.abc import Hashable, Iterable, Mapping
from difflib import get_close_matches
from itertools import pairwise
from textwrap import dedent
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from engine.errors import JobError
from engine.job.template import parse


class Misfit(ValueError):
    """A fault found by a section's own checks; `at` is the path from the section to the key at fault."""

    def __init__(self, what: str, *at: str | int) -> None:
        super().__init__(what)
        self.at = at


class Section(BaseModel):
    """A frozen part of the job; unknown keys are errors that name the nearest known one."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        defer_build=True,  # a job builds its own sections at once, and none that it doesn't have
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = {*cls.model_fields, *cls.known_keys()}
            for key in data:
                if key not in known:
                    raise Misfit(f"this key isn't known; {nearest(str(key), cls.known_keys())}", str(key))
        return data

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe each key by the text below it, read only now: pydantic would parse all at each start."""
        made = handler(schema)
        keys = handler.resolve_ref_schema(made)["properties"]
        for name, text in _texts_below(cls).items():
            keys[cls.model_fields[name].alias or name]["description"] = text
        return made

    @classmethod
    def known_keys(cls) -> tuple[str, ...]:
        """Return the keys of this section as a user writes them, in the order of its fields."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())


def _texts_below(model: type[Section]) -> dict[str, str]:
    """Return the text that stands below each field in the source, those of its bases too."""
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if not issubclass(owner, Section):
            continue
        (body,) = ast.parse(dedent(inspect.getsource(owner))).body
        assert isinstance(body, ast.ClassDef), "a section is a class"
        for above, below in pairwise(body.body):
            if isinstance(above, ast.AnnAssign) and isinstance(below, ast.Expr):
                assert isinstance(above.target, ast.Name), "a field has a name"
                assert isinstance(below.value, ast.Constant), "a field's text is one"
                found[above.target.id] = inspect.cleandoc(str(below.value.value))
    return {name: text for name, text in found.items() if name in model.model_fields}


PATTERNS: dict[str, str] = {}
"""What a text must be, in words, by the pattern that it has to match."""


def pattern(expression: str, sentence: str) -> str:
    """Return the pattern, and keep what to say of a text that doesn't match it."""
    PATTERNS[expression] = sentence
    return expression


def nearest(key: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that names the known key nearest to an unknown one, or all of them."""
    names = tuple(known)
    match get_close_matches(key, names, n=1, cutoff=0.6):
        case [name]:
            return f"did you mean {name!r}?"
        case _:
            return f"known here: {', '.join(names)}"


def _parses(text: str) -> str:
    try:
        parse(text)
    except JobError as error:
        raise Misfit(str(error)) from error
    return text


def _unique(names: tuple[Hashable, ...]) -> tuple[Hashable, ...]:
    for position, name in enumerate(names):
        if name in names[:position]:
            raise Misfit(f"{name!r} stands here twice", position)
    return names


Text: TypeAlias = Annotated[str, Field(min_length=1)]
TemplateText: TypeAlias = Annotated[str, AfterValidator(_parses)]
Names: TypeAlias = Annotated[tuple[Text, ...], AfterValidator(_unique)]
"""Names of columns or attributes, none twice."""
SomeNames: TypeAlias = Annotated[Names, Field(min_length=1)]
