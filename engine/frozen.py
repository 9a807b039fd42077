"""`dataclass` as the standard library has it, cheap to import where a class is frozen and has slots. Pure.

Invariant: such a class does what the library's would do; only its `__init__` is compiled when it is first
called, and the other methods are closures that need no text of their own. The library writes and compiles six
methods for each class that is imported, which was a sixth of what a start cost: most classes are never made,
and few of those that are made are compared.
"""

import dataclasses
import reprlib
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

Fields: TypeAlias = Sequence["dataclasses.Field[Any]"]

CHEAP = {"frozen": True, "slots": True}
"""The options of the classes that are made here; all others are the library's."""
_ABSENT = object()

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls: type | None = None, /, **options: bool) -> Any:
        """Make a dataclass, as dataclasses.dataclass does."""
        return _made if cls is None and options == CHEAP else dataclasses.dataclass(cls, **options)


def _made(cls: type) -> type:
    cls.__doc__ = cls.__doc__ or cls.__name__  # else the library would print its signature there
    own = {name for name, value in vars(cls).items() if value is not None}
    made: type = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    fields = dataclasses.fields(made)
    assert all(field.init and not field.kw_only for field in fields), "not needed so far"
    for method in (*_compared(fields), *_guarded(made, fields), *_kept(fields), _shown(fields), _begun(made)):
        if method.__name__ not in own:
            method.__qualname__ = f"{made.__qualname__}.{method.__name__}"
            setattr(made, method.__name__, method)
    return made


def _begun(cls: type) -> Callable[..., None]:
    """Return what compiles the real `__init__`, puts it in its own place, and calls it."""

    def __init__(self: object, *given: object, **named: object) -> None:  # noqa: N807
        made = _init_of(cls)
        type.__setattr__(cls, "__init__", made)
        made(self, *given, **named)

    return __init__


def _init_of(cls: type) -> Callable[..., None]:
    known: dict[str, Any] = {"_set": object.__setattr__, "_absent": _ABSENT}
    parameters, lines = ["self"], list[str]()
    for field in dataclasses.fields(cls):
        parameter = value = field.name
        if field.default is not dataclasses.MISSING:
            parameter += f"=_default_{field.name}"
            known[f"_default_{field.name}"] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            parameter += "=_absent"
            value = f"_make_{field.name}() if {value} is _absent else {value}"
            known[f"_make_{field.name}"] = field.default_factory
        parameters.append(parameter)
        lines.append(f" _set(self, {field.name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()")
    exec(f"def __init__({', '.join(parameters)}):\n" + "\n".join(lines or [" pass"]), known)  # noqa: S102
    made: Callable[..., None] = known["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _compared(fields: Fields) -> tuple[Callable[..., Any], Callable[..., Any]]:
    values = _values([field.name for field in fields if field.compare])

    def __eq__(self: object, other: object) -> bool:  # noqa: N807
        if other.__class__ is not self.__class__:
            return NotImplemented
        return bool(values(self) == values(other))

    def __hash__(self: object) -> int:  # noqa: N807
        return hash(values(self))

    return __eq__, __hash__


def _guarded(cls: Any, fields: Fields) -> tuple[Callable[..., None], Callable[..., None]]:
    names = {field.name for field in fields}

    def __setattr__(self: object, name: str, value: object) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: object, name: str) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return __setattr__, __delattr__


def _kept(fields: Fields) -> tuple[Callable[..., Any], Callable[..., None]]:
    """Return what pickle asks for of a class that lets nobody set anything."""
    names = [field.name for field in fields]

    def __getstate__(self: object) -> list[object]:  # noqa: N807
        return [getattr(self, name) for name in names]

    def __setstate__(self: object, state: list[object]) -> None:  # noqa: N807
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    return __getstate__, __setstate__


def _shown(fields: Fields) -> Callable[..., str]:
    names = [field.name for field in fields if field.repr]

    @reprlib.recursive_repr()
    def __repr__(self: object) -> str:  # noqa: N807
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{self.__class__.__qualname__}({shown})"

    return __repr__


def _values(names: Sequence[str]) -> Callable[[object], Any]:
    """Return what gives the values of fields: a tuple, of one field its value."""
    return attrgetter(*names) if names else lambda _: ()
