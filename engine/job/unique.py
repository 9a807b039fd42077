"""`source.unique`: the user's word on what no two rows share, believed for the order of reading.

Invariant: it decides nothing over what is written, so it may be gained or lost between two runs.
"""

from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, StrictBool, Tag, WithJsonSchema

from engine.job.section import SomeNames

_NAMES = {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}}
_SETS = {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "string", "minLength": 1}, _NAMES]}}


def _sets(value: Any) -> Any:
    """Let a lone column stand for a set of one."""
    if not isinstance(value, list | tuple):
        return value
    return [[each] if isinstance(each, str) else each for each in value]


def _shape(value: Any) -> str:
    return "bool" if isinstance(value, bool) else "sets"


ColumnSets: TypeAlias = Annotated[
    tuple[SomeNames, ...], BeforeValidator(_sets), Field(min_length=1), WithJsonSchema(_SETS)
]
Unique: TypeAlias = Annotated[
    Annotated[StrictBool, Tag("bool")] | Annotated[ColumnSets, Tag("sets")], Discriminator(_shape)
]
"""True: each item key is one row's alone. Or the columns that are unique, each alone or several together."""
