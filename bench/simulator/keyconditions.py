"""Which keys a query wants: its key condition as a partition and a test of the sort key. Pure."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.simulator.errors import ApiError, invalid, invalid_value
from bench.simulator.expressions import AttributePath, Condition, Test, conjunction, holds
from bench.simulator.schema import Key, KeyAttributes, ring

_TURNED: Final = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True, slots=True)
class Range:
    """One partition's keys for which the tests hold. Shape: `start` the place and partition key values."""

    keys: KeyAttributes
    types: Mapping[str, str]
    start: Key
    tests: tuple[Test, ...]

    @property
    def beyond(self) -> Key:
        """A position behind all keys of the partition."""
        return (*self.start, _Last())

    def in_partition(self, key: Key) -> bool:
        """Tell whether a key belongs to the partition."""
        return key[: len(self.start)] == self.start

    def holds(self, key: Key) -> bool:
        """Tell whether a key is wanted."""
        if not self.in_partition(key):
            return False
        if not self.tests:
            return True
        values = key[len(self.start) : len(self.start) + len(self.keys.sort)]
        item = {
            name: {self.types[name]: value if self.types[name] == "S" else _spelled(value)}
            for name, value in zip(self.keys.sort, values, strict=True)
        }
        return all(holds(test, item) for test in self.tests)


class _Last:
    """Sorts behind every value."""

    def __lt__(self, other: object) -> bool:
        return False

    def __gt__(self, other: object) -> bool:
        return True


def read_range(condition: Condition, keys: KeyAttributes, types: Mapping[str, str]) -> Range:
    """Return the keys that a KeyConditionExpression asks for."""
    fixed: dict[str, Mapping[str, Any]] = {}
    tests: list[Test] = []
    for test in map(_attribute_first, conjunction(condition)):
        name = test.operands[0].name if isinstance(test.operands[0], AttributePath) else ""
        for value in test.operands[1:]:
            if isinstance(value, AttributePath) or [*value] != [types.get(name, *value)]:
                raise invalid_value("Condition parameter type does not match schema type")
        if name in keys.partition:
            if test.operation != "=":
                raise invalid("Query key condition not supported")
            value = test.operands[1]
            assert not isinstance(value, AttributePath), "refused above"
            fixed[name] = value
        elif name in keys.sort:
            tests.append(test)
        else:
            raise _missed([*keys.partition, *keys.sort][min(1, len(keys.sort))])
    for name in keys.partition:
        if name not in fixed:
            raise _missed(name)
    place = ring(fixed[name] for name in keys.partition)
    values = KeyAttributes(keys.partition, ()).key(fixed)[1:]
    return Range(keys, types, (place, *values), tuple(tests))


def _attribute_first(test: Test) -> Test:
    """Turn `:v < a` into `a > :v`."""
    if test.operation == "<>" or test.operation.startswith("attribute_"):
        raise invalid(f"Invalid operator used in KeyConditionExpression: {test.operation}")
    if isinstance(test.operands[0], AttributePath) or test.operation not in _TURNED:
        return test
    return Test(_TURNED[test.operation], test.operands[::-1])


def _missed(name: str) -> ApiError:
    return invalid(f"Query condition missed key schema element: {name}")


def _spelled(value: Any) -> str:
    """Return a comparable number or binary as it stands on the wire."""
    return b64encode(value).decode() if isinstance(value, bytes) else format(value, "f")
