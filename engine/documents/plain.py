"""Documents as plain JSON, exact to the last digit: the codec of targets that have no notation of their own.

Invariant: a document says what its source says, numbers of any length; a binary is its base64, as a string.
"""

from typing import Any

import orjson
import pyarrow as pa

from engine.contracts.documents import AS_TEXT, Affix, DocumentCodec, Fragment, Notation, ValueType
from engine.documents.exact import NumberText, UnsupportedError, parsed_exactly, utf8_size
from engine.kinds import Cell, documents_array

NOTATION = Notation(
    string=Affix("", ""),
    number=Affix("", ""),
    binary=Affix('"', '"'),
    bool=Affix("", ""),
    list=Affix("[", "]"),
    map=Affix("{", "}"),
    null="null",
    nameless=None,
    null_size=0,
    bool_size=0,
    container_size=0,
    element_size=0,
)
_BLANKS = " \t\r\n"
_TYPES: dict[type, ValueType] = {
    str: ValueType.STRING,
    NumberText: ValueType.NUMBER,
    bool: ValueType.BOOL,
    type(None): ValueType.NULL,
    list: ValueType.LIST,
    dict: ValueType.MAP,
}


class PlainDocuments:
    """Documents as plain JSON; see contracts.documents. Sizes are the bytes of names and texts."""

    __slots__ = ()

    notation = NOTATION

    def number(self, text: str) -> tuple[str, int, str | None]:
        """Return a decimal as it is; JSON has none that isn't finite."""
        finite = text[-1:].isdigit()
        return text, len(text), None if finite else f"number_not_finite: {text} is no number in JSON"

    def integer(self, value: int) -> tuple[str, int]:
        """Return an integer as it is."""
        text = str(value)
        return text, len(text)

    def from_json(self, texts: pa.Array) -> pa.StructArray:
        """Turn JSON texts into documents: they stay as they are."""
        return documents_array([None if text is None else _from_json(text) for text in texts.to_pylist()])

    def parsed(self, wire: str) -> Any:
        """Return a value, numbers as texts."""
        return parsed_exactly(wire)

    def opened(self, value: Any) -> tuple[ValueType, Any]:
        """Return what a value is; its content is itself."""
        found = _TYPES[type(value)]
        return found, str(value) if found is ValueType.NUMBER else value

    def printed(self, value: Any) -> Fragment:
        """Write a value again."""
        return orjson.dumps(self.plain(value)).decode(), *_measured(value)

    def plain(self, value: Any) -> Any:
        """Return a value for orjson."""
        if isinstance(value, dict):
            return {name: self.plain(member) for name, member in value.items()}
        if isinstance(value, list):
            return [self.plain(element) for element in value]
        return orjson.Fragment(str(value)) if isinstance(value, NumberText) else value


def _from_json(text: str) -> Cell:
    try:
        size, depth = _measured(parsed_exactly(text))
    except RecursionError:
        flaw = f"nesting_too_deep: too deep to be read{AS_TEXT}"
    except UnsupportedError as error:
        flaw = str(error)
    else:
        return text.strip(_BLANKS), size, depth, None
    return orjson.dumps(text).decode(), len(text.encode()), 0, flaw


def _measured(value: Any) -> tuple[int, int]:
    """Return the bytes of a value's names and texts, and its depth."""
    if isinstance(value, str):
        return utf8_size(value), 0
    if not isinstance(value, list | dict):
        return 0, 0
    inner = [_measured(each) for each in (value.values() if isinstance(value, dict) else value)]
    names = sum(map(utf8_size, value)) if isinstance(value, dict) else 0
    return names + sum(size for size, _ in inner), 1 + max(depth for _, depth in inner) if inner else 0


PLAIN: DocumentCodec = PlainDocuments()
