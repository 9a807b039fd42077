"""Values as plain JSON and back, by the types that their dataclasses declare. Pure.

Invariant: what comes back equals what was given, or an error is raised; nothing but declared types is built,
so that text from another process or an older version can't become anything else.
"""

import dataclasses
import types
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_V = TypeVar("_V")
_ATOMS = (str, int, float, bool, type(None))
TAG = "is"
"""The member that names the class of a value which may be of several."""


def dumped(value: Any, declared: Any = None) -> Json:
    """Return a value as JSON.

    Shape: dataclasses as objects, sets sorted, bytes in hex, enums as their values.
    """
    declared = type(value) if declared is None else declared
    origin, inner = get_origin(declared), get_args(declared)
    if origin in (Union, types.UnionType):
        member = _member(value, inner)
        found = dumped(value, member)
        several = _is_object(member) and sum(map(_is_object, inner)) > 1
        return {TAG: member.__name__, **found} if several and isinstance(found, dict) else found
    if origin is tuple:
        every = [inner[0]] * len(value) if inner[1:] == (...,) else inner
        return [dumped(each, of) for each, of in zip(value, every, strict=True)]
    if origin is frozenset:
        return [dumped(each, inner[0]) for each in sorted(value)]
    if _is_object(declared):
        return {name: dumped(getattr(value, name), of) for name, of in _fields(declared).items()}
    if isinstance(value, Enum):
        return dumped(value.value)
    if isinstance(value, bytes):
        return value.hex()
    assert isinstance(value, _ATOMS), f"{declared} has no JSON"
    return value


def loaded(declared: type[_V], found: Json) -> _V:
    """Return the value that `dumped` gave. Raises: ValueError, TypeError (it is another type's)."""
    value: _V = _loaded(declared, found)
    return value


def _loaded(declared: Any, found: Json) -> Any:
    origin, inner = get_origin(declared), get_args(declared)
    if origin in (Union, types.UnionType):
        return _loaded_member(inner, found)
    if origin in (tuple, frozenset):
        if not isinstance(found, list):
            raise TypeError(f"{found!r} is no list")
        every = inner if origin is tuple and inner[1:] != (...,) else [inner[0]] * len(found)
        return origin(_loaded(of, each) for each, of in zip(found, every, strict=True))
    if _is_object(declared):
        if not isinstance(found, dict):
            raise TypeError(f"{found!r} is no {declared}")
        hints = _fields(declared)
        if unknown := found.keys() - hints.keys():
            raise ValueError(f"{declared} has no {', '.join(sorted(unknown))}")
        return declared(**{name: _loaded(hints[name], each) for name, each in found.items()})
    if declared is bytes and isinstance(found, str):
        return bytes.fromhex(found)
    if isinstance(declared, type) and issubclass(declared, Enum):
        return declared(found)
    if type(found) is not declared:
        raise TypeError(f"{found!r} is no {declared}")
    return found


def _loaded_member(members: tuple[Any, ...], found: Json) -> Any:
    """Return a value of the one of several types that it is of."""
    classes = {member.__name__: member for member in members if _is_object(member)}
    if isinstance(found, dict) and len(classes) > 1:
        named = str(found.get(TAG))
        if named not in classes:
            raise ValueError(f"{found!r} is none of {', '.join(classes)}")
        return _loaded(classes[named], {name: each for name, each in found.items() if name != TAG})
    for member in members:
        is_object = _is_object(member)
        if is_object == isinstance(found, dict) and (found is None) == (member is type(None)):
            return _loaded(member, found)
    raise TypeError(f"{found!r} is none of {members}")


def _member(value: Any, members: tuple[Any, ...]) -> Any:
    for member in members:
        if isinstance(value, get_origin(member) or member):
            return member
    raise TypeError(f"{value!r} is none of {members}")


@cache
def _fields(declared: Any) -> Mapping[str, Any]:
    """Return the types of a dataclass's fields, in their order."""
    hints = get_type_hints(declared)
    return {field.name: hints[field.name] for field in dataclasses.fields(declared)}


def _is_object(declared: Any) -> bool:
    return dataclasses.is_dataclass(declared)
