"""Values as JSON text and back, by the types that their dataclasses declare.

Invariant: what comes back equals what was given, or an error is raised; nothing but declared types is built,
so that text from another process or an older version can't become anything else.
"""

from enum import Enum
from typing import Any, TypeVar, get_args

from pydantic import GetCoreSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, core_schema

TAG = "is"
"""The member that names the class of a value which may be of several."""
_V = TypeVar("_V")
_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


class OneOf:
    """Marks a union of dataclasses of which some have the same fields: their JSON names the class.

    Of an enum among them, the values are as they are.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Be a union of the classes, told apart by TAG."""
        choices = {member.__name__: handler.generate_schema(member) for member in get_args(source)}
        enums = [member.__name__ for member in get_args(source) if issubclass(member, Enum)]

        def told(found: Any) -> Any:
            named = found.get(TAG) if isinstance(found, dict) else type(found).__name__
            return named if named in choices else next(iter(enums), None)

        def tagged(value: Any, inner: core_schema.SerializerFunctionWrapHandler) -> Any:
            found = inner(value)
            return {TAG: type(value).__name__, **found} if isinstance(found, dict) else found

        return core_schema.tagged_union_schema(
            choices, told, serialization=core_schema.wrap_serializer_function_ser_schema(tagged)
        )


def dumped(value: Any) -> str:
    """Return a dataclass as JSON text."""
    return _adapter(type(value)).dump_json(value).decode()


def loaded(declared: type[_V], text: str) -> _V:
    """Return the value that `dumped` gave. Raises: ValueError (it is another type's)."""
    value: _V = _adapter(declared).validate_json(text, strict=True)
    return value


def _adapter(declared: Any) -> TypeAdapter[Any]:
    if declared not in _ADAPTERS:
        _ADAPTERS[declared] = TypeAdapter(declared)
    return _ADAPTERS[declared]
