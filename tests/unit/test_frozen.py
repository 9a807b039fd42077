"""Frozen dataclasses that are cheap to import do what the library's do, whatever is asked of them."""

import copy
import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Any

import pytest

from engine import frozen
from engine.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """A place."""

    x: int
    y: int = 2
    tags: list[str] = field(default_factory=list)
    secret: str = field(default="s", repr=False)
    aside: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("x")


@dataclass(frozen=True, slots=True)
class Point3(Point):
    z: int = 5

    def __repr__(self) -> str:
        return "own"


@dataclass(frozen=True, slots=True)
class Nothing:
    pass


@dataclass(frozen=True, slots=True)
class Same:
    name: str

    def __eq__(self, other: object) -> bool:
        return True


def libraries(made: type) -> Any:
    """Return the same class as the library makes it."""
    members = [
        (each.name, each.type, field(default=each.default, repr=each.repr, compare=each.compare))
        if each.default_factory is dataclasses.MISSING
        else (each.name, each.type, field(default_factory=each.default_factory))
        for each in dataclasses.fields(made)
    ]
    names = ("__post_init__", "__repr__", "__eq__")
    kept = {
        name: getattr(made, name)
        for name in names
        if getattr(made, name, frozen.dataclass).__module__ == __name__
    }
    return dataclasses.make_dataclass(made.__name__, members, namespace=kept, frozen=True, slots=True)


def outcome(ask: Callable[[], Any]) -> object:
    """Return what comes of a question: its answer, or the kind of its error."""
    try:
        return ask()
    except (TypeError, ValueError, AttributeError) as error:
        return type(error)


@pytest.mark.parametrize("made", [Point, Point3, Nothing, Same])
@pytest.mark.parametrize(
    "given", [(), (1,), (-1,), (1, 3), (1, 3, ["a"], "t", 9), ("x",), (1, 2, 3, 4, 5, 6, 7)]
)
def test_it_is_as_the_librarys(made: Any, given: tuple[Any, ...]) -> None:
    theirs = libraries(made)
    assert outcome(lambda: repr(made(*given))) == outcome(lambda: repr(theirs(*given)))
    assert outcome(lambda: made(*given) == made(*given)) == outcome(lambda: theirs(*given) == theirs(*given))
    assert made.__match_args__ == theirs.__match_args__
    assert [each.name for each in dataclasses.fields(made)] == [
        each.name for each in dataclasses.fields(theirs)
    ]
    mine = outcome(lambda: made(*given))
    if not isinstance(mine, type):
        assert outcome(lambda: hash(mine)) == outcome(lambda: hash(made(*given)))
        assert dataclasses.asdict(mine) == dataclasses.asdict(theirs(*given))
        assert pickle.loads(pickle.dumps(mine)) == copy.deepcopy(mine) == dataclasses.replace(mine) == mine


def test_it_is_frozen() -> None:
    point = Point(1, tags=["a"])
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
        del point.x
    assert not hasattr(point, "__dict__")


def test_what_is_left_out_of_its_text_or_of_comparing_stays_out() -> None:
    assert repr(Point(1)) == "Point(x=1, y=2, tags=[], aside=0)"
    assert Point(1, aside=1) == Point(1, aside=2) != Point(2)
    assert Point3(1) != Point(1)
    assert Point(1).tags is not Point(1).tags
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point(1))


def test_methods_of_its_own_win() -> None:
    assert (repr(Point3(1)), Same("a")) == ("own", Same("b"))
    with pytest.raises(ValueError, match="x"):
        Point3(-1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        Point()  # type: ignore[call-arg]


def test_other_classes_are_the_librarys() -> None:
    @dataclass(slots=True)
    class Counter:
        count: int = 0

    counter = Counter()
    counter.count += 1
    assert counter == Counter(1)
    assert Counter.__init__.__module__ != frozen.__name__


def test_a_class_compiles_nothing_until_it_is_made() -> None:
    """Else the import of some 300 classes is no cheaper than the library's."""
    code = (
        "import builtins; real = builtins.exec; said = []\n"
        "builtins.exec = lambda text, *rest: (said.append(text), real(text, *rest))[1]\n"
        "from engine.frozen import dataclass; said.clear()\n"
        "@dataclass(frozen=True, slots=True)\n"
        "class A:\n    x: int\n    y: int = 1\n"
        "before = len(said); A(1); A(2); print(before, len(said))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0 1\n"


def test_the_product_takes_its_dataclasses_from_here() -> None:
    root = Path(frozen.__file__).parents[1]
    files = [file for part in ("engine", "connectors") for file in (root / part).rglob("*.py")]
    others = [file for file in files if file.name != "frozen.py" and "@dataclass" in file.read_text()]
    assert others
    assert not [str(file) for file in others if "from engine.frozen import dataclass" not in file.read_text()]
