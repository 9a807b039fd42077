"""How DynamoDB writes documents: the codec that sources write in and that rules read in.

Invariant: what is written is the attribute value as it stands in a request; nothing is written twice.
"""

from functools import lru_cache
from typing import Any

import orjson

from connectors.dynamodb.documents.json_walk import documents_from_json
from connectors.dynamodb.documents.notation import CONTAINER_SIZE, ELEMENT_SIZE, NOTATION
from connectors.dynamodb.documents.numbers import number, plain_size
from engine.contracts.documents import DocumentCodec, Fragment, ValueType
from engine.documents.writing import binary_size


def measured(value: Any) -> tuple[int, int]:
    """Return an attribute value's size and depth."""
    ((letter, content),) = value.items()
    match letter:
        case "S":
            return len(content) if content.isascii() else len(content.encode()), 0
        case "N":
            return _number_size(content), 0
        case "B":
            return binary_size(content), 0
        case "BOOL" | "NULL":
            return 1, 0
        case "SS":
            return sum(len(text.encode()) for text in content), 0
        case "NS":
            return sum(map(_number_size, content)), 0
        case "BS":
            return sum(binary_size(text) for text in content), 0
        case "L":
            inner = [measured(element) for element in content]
            names = 0
        case _:
            assert letter == "M", f"DynamoDB has no type {letter}"
            inner = [measured(member) for member in content.values()]
            names = sum(len(name.encode()) for name in content)
    size = CONTAINER_SIZE + ELEMENT_SIZE * len(inner) + names + sum(size for size, _ in inner)
    return size, 1 + max(depth for _, depth in inner) if inner else 0


def _number_size(text: str) -> int:
    return number(text).size if "E" in text or "e" in text else plain_size(text)


_TYPES = {
    "S": ValueType.STRING,
    "N": ValueType.NUMBER,
    "B": ValueType.BINARY,
    "BOOL": ValueType.BOOL,
    "NULL": ValueType.NULL,
    "L": ValueType.LIST,
    "M": ValueType.MAP,
}


class DynamoDBDocuments:
    """Documents in DynamoDB's JSON; see contracts.documents.DocumentCodec."""

    __slots__ = ()

    notation = NOTATION

    number = staticmethod(number)
    from_json = staticmethod(documents_from_json)
    parsed = staticmethod(orjson.loads)

    @staticmethod
    @lru_cache(maxsize=1 << 14)
    def integer(value: int) -> tuple[str, int]:
        """Return an integer as an attribute value, and its size; the same ones come again and again."""
        text = str(value)
        return f'{{"N":"{text}"}}', plain_size(text)

    def opened(self, value: Any) -> tuple[ValueType, Any]:
        """Return what an attribute value is, and its content; a set is the list of its elements."""
        ((letters, content),) = value.items()
        found = _TYPES.get(letters)
        if found is None:
            return ValueType.LIST, [{letters[0]: element} for element in content]
        return found, None if letters == "NULL" else content

    def plain(self, value: Any) -> Any:
        """Return an attribute value as ordinary JSON."""
        ((letters, content),) = value.items()
        match letters:
            case "N":
                return orjson.Fragment(content)
            case "NULL":
                return None
            case "M":
                return {name: self.plain(member) for name, member in content.items()}
            case "L":
                return [self.plain(element) for element in content]
            case "NS":
                return [orjson.Fragment(text) for text in content]
            case _:
                return content

    def printed(self, value: Any) -> Fragment:
        """Write an attribute value again."""
        return orjson.dumps(value).decode(), *measured(value)


DOCUMENTS: DocumentCodec = DynamoDBDocuments()
