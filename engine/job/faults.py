"""Turn what pydantic found wrong with a job into one clear sentence per key.

Invariant: a sentence names the path as the user wrote it, and never repeats a value, which may be a secret.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from engine.frozen import dataclass
from engine.job.interpolation import Path
from engine.job.section import PATTERNS, Misfit

KINDS = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "tuple": "a list",
    "dict": "a mapping, key: value",
    "model": "a mapping, key: value",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one key."""

    path: Path
    sentence: str


def faults(error: ValidationError, data: Any) -> list[Fault]:
    """Return what is wrong, deepest keys only: a section isn't at fault where one of its keys is.

    Ordering: as in the models.
    """
    wanted: dict[Path, list[str]] = {}
    sentences: dict[Path, str] = {}
    for detail in error.errors(include_url=False):
        path = _path(detail, data)
        if kind := _kind(detail):
            if kind not in wanted.setdefault(path, []):
                wanted[path].append(kind)
        else:
            sentences.setdefault(path, _sentence(detail))
    for path, kinds in wanted.items():
        sentences.setdefault(path, f"it must be {' or '.join(kinds)}")
    return [
        Fault(path, sentence)
        for path, sentence in sentences.items()
        if not any(other != path and other[: len(path)] == path for other in sentences)
    ]


def _path(detail: ErrorDetails, data: Any) -> Path:
    """Leave out what pydantic adds to a path: names of types and tags, which the data doesn't have."""
    added = _added(detail)
    _, path = _aligned((*detail["loc"], *added), data, missing=bool(added) or detail["type"] == "missing")
    return path


def _added(detail: ErrorDetails) -> Path:
    """Return how the path goes on to the key at fault where pydantic stopped at its section."""
    match detail.get("ctx", {}).get("error"):
        case Misfit(at=at):
            return tuple(at)
        case _:
            return ("type",) if detail["type"].startswith("union_tag") else ()


def _aligned(loc: Path, data: Any, *, missing: bool) -> tuple[int, Path]:
    """Return the score and steps of the part of `loc` that leads furthest; its last step counts twice.

    `missing`: the last step is a key that the data needn't have.
    """
    if not loc:
        return 0, ()
    part, rest = loc[0], loc[1:]
    best = _aligned(rest, data, missing=missing)
    if _has(data, part) or (missing and not rest and isinstance(data, Mapping)):
        score, path = _aligned(rest, data[part] if _has(data, part) else None, missing=missing)
        score += 1 if rest else 2
        if score >= best[0]:
            return score, (part, *path)
    return best


def _has(data: Any, part: str | int) -> bool:
    if isinstance(data, list):
        return isinstance(part, int) and part < len(data)
    return isinstance(data, Mapping) and part in data


def _kind(detail: ErrorDetails) -> str | None:
    """Return what the value should be, if that is the fault; several of one key are alternatives."""
    ctx = detail.get("ctx", {})
    if detail["input"] is None:
        return None
    match detail["type"]:
        case "literal_error":
            return str(ctx["expected"])
        case "union_tag_invalid":
            return str(ctx["expected_tags"]).replace(", ", " or ")
        case "greater_than":
            return f"more than {ctx['gt']:g}"
        case "greater_than_equal":
            return f"at least {ctx['ge']:,}"
        case "less_than_equal":
            return f"at most {ctx['le']:,}"
        case "string_type" if isinstance(detail["input"], (int, float, Decimal)):
            return "text; put it in quotes"
        case name:
            base, _, rest = name.partition("_")
            return KINDS.get(base) if rest in ("type", "parsing", "from_float", "attributes_type") else None


def _sentence(detail: ErrorDetails) -> str:
    ctx = detail.get("ctx", {})
    match detail["type"]:
        case "value_error":
            return str(ctx["error"])
        case "missing" | "union_tag_not_found":
            return "it is missing; add it"
        case "too_short" | "string_too_short":
            return "it must not be empty"
        case "too_long":
            return f"it must have at most {ctx['max_length']} entries"
        case "string_too_long":
            return f"it must have at most {ctx['max_length']} characters"
        case "string_pattern_mismatch":
            return PATTERNS[ctx["pattern"]]
        case "string_unicode":
            return "it holds bytes that aren't text in UTF-8"
        case "finite_number":
            return "it must be a finite number"
        case _ if detail["input"] is None:
            return "it has no value; give it one, or leave the key out"
        case other:
            return f"it doesn't fit ({other.replace('_', ' ')})"
