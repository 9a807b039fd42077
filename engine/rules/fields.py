"""What a job's rules take from documents that have no schema: the columns that such a source is to make.

Invariant: every field that a rule names has a column, and `include: all` has one with all the others, so that
nothing is left out which isn't named.
"""

from collections.abc import Iterator, Mapping

import orjson
import polars as pl

from engine.errors import JobError
from engine.frozen import dataclass
from engine.job.items import Filled, ItemRule, Sql
from engine.job.model import Job
from engine.job.template import Placeholder, placeholders
from engine.rules.names import parsed, source_name

Path = tuple[str, ...]
_LIST, _REST = "\0list:", "\0rest:"
"""What the names of columns begin with that no rule can name."""
LIST_FIELD, FLAW_FIELD = "list", "flaw"
"""The fields of a column that `for_each` goes through."""


@dataclass(frozen=True, slots=True)
class ListFields:
    """A list at `path`, and what rules take from each of its elements: field name → path in the element."""

    path: Path
    fields: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Rest:
    """What `include: all` adds to a rule's items: a column of Members, and fields that have their own.

    `without` are the names that aren't among the members. `apart` are attributes that the target compares or
    indexes, so that their values are checked one by one.
    """

    column: str
    without: frozenset[str]
    apart: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fields:
    """Columns by name: of single fields, of lists taken apart, of all other fields.

    `hooked`: a hook stands before the rules, so that some of these may be columns of its own.
    """

    paths: Mapping[str, Path]
    lists: Mapping[str, ListFields]
    rests: Mapping[str, frozenset[str]]
    hooked: bool = False


def list_column(path: Path) -> str:
    """Return the column that holds the elements of the list at a path."""
    return _LIST + ".".join(path)


def is_inner(column: str) -> bool:
    """Say whether a column is one that no rule can name."""
    return column.startswith((_LIST, _REST))


def is_list(column: str) -> bool:
    """Say whether a column is a list taken apart."""
    return column.startswith(_LIST)


def rest_of(job: Job, rule: ItemRule) -> Rest | None:
    """Return what `include: all` means for a rule; None where it doesn't stand."""
    if rule.include != "all":
        return None
    own = {*rule.key, *rule.attributes, *rule.exclude}
    apart = tuple(name for name in job.target.looked_into if name not in own)
    without = frozenset({*own, *apart})
    return Rest(_REST + orjson.dumps(sorted(without)).decode(), without, apart)


def wanted_fields(job: Job) -> Fields:
    """Find out what a job's rules take from a document.

    Raises: JobError when two different fields would have one column, or a hook meets `include: all`.
    """
    paths: dict[str, Path] = {}
    lists: dict[str, ListFields] = {}
    rests: dict[str, frozenset[str]] = {}
    hooked = job.hook is not None
    for number, rule in enumerate(job.items):
        place = f"items[{number}]"
        for path in _named(rule):
            _add(paths, path, place)
        rest = rest_of(job, rule)
        if rest is not None:
            if hooked:
                raise JobError(
                    f"{place}.include: `all` can't be promised behind transform {job.hook}, which sees"
                    " named fields only; list the fields by name"
                )
            rests[rest.column] = rest.without
            for name in rest.apart:
                _add(paths, (name,), place)
        for_each = rule.for_each_path()
        if for_each is not None:
            elements = _element_paths(rule)
            if hooked or elements is None:
                _add(paths, for_each, place)
            else:
                column = list_column(for_each)
                before = lists[column].fields if column in lists else {}
                lists[column] = ListFields(for_each, {**before, **elements})
    for name in job.source.named_fields if hooked else ():
        _add(paths, tuple(name.split(".")), "source.projection")
    # A list of which some rule needs whole elements has no column of its own, for one name has one meaning.
    whole = {list_column(path) for path in paths.values()}
    return Fields(paths, {name: found for name, found in lists.items() if name not in whole}, rests, hooked)


def _add(paths: dict[str, Path], path: Path, place: str) -> None:
    column = ".".join(path)
    if paths.setdefault(column, path) != path:
        raise JobError(
            f"{place}: {column} is a field with a dot in its name in one place, a path in another, and both"
            " can't have one name; read one of them in a job of its own"
        )


def _named(rule: ItemRule) -> Iterator[Path]:
    """Yield the paths of every field that a rule names, those of elements left out."""
    for part in _placeholders(rule):
        if rule.for_each is None or not (part.of_element or part.of_position):
            yield part.path
    if not isinstance(rule.include, str):
        yield from ((name,) for name in rule.include if name not in rule.exclude)
    expressions = [rule.when, rule.delete_when]
    expressions += [attribute.sql for _, attribute in rule.attribute_rules() if isinstance(attribute, Sql)]
    for text in expressions:
        if text is not None:
            yield from (tuple(name.split(".")) for name in _roots(text))


def _roots(text: str) -> list[str]:
    """Return the columns that SQL names; none when it doesn't parse, which compiling it will tell."""
    try:
        return [source_name(root) for root in parsed(text).meta.root_names()]
    except (pl.exceptions.PolarsError, JobError, RecursionError):
        return []


def _element_paths(rule: ItemRule) -> dict[str, Path] | None:
    """Return what a `for_each` rule takes from each element; None when it needs whole elements."""
    paths = [part.path[1:] for part in _placeholders(rule) if part.of_element]
    if not paths or () in paths:
        return None
    return {".".join(path): path for path in paths}


def _placeholders(rule: ItemRule) -> list[Placeholder]:
    found = [part for _, template in rule.key_templates() for part in placeholders(template)]
    for _, attribute in rule.attribute_rules():
        if isinstance(attribute, Filled):
            found += placeholders(attribute.template)
    return found
