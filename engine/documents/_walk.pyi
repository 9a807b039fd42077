# Built by hatch_build.py from the sources in c/.
from typing import Any

FORM: int
SOURCES: str

def rows(
    text: Any, signs: bytes, columns: int, /
) -> tuple[tuple[bytes, bytes, bytes | None, int, bool], ...] | None: ...
def members(text: Any, depth: int, letters: bytes, /) -> tuple[bytes, ...] | None: ...
def documents(
    data: Any, offsets: Any, validity: Any, first: int, rows: int, notation: tuple[Any, ...], /
) -> tuple[bytes, bytes, bytes, bytes, bytes] | None: ...
def part(
    data: Any,
    offsets: Any,
    validity: Any,
    first: int,
    rows: int,
    notation: tuple[Any, ...],
    names: tuple[bytes, ...],
    /,
) -> tuple[bytes, bytes, bytes, bytes, bytes] | None: ...
def elements(
    data: Any, offsets: Any, validity: Any, first: int, rows: int, notation: tuple[Any, ...], /
) -> tuple[bytes, bytes, bytes, bytes, bytes, bytes] | None: ...
