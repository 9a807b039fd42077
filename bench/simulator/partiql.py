"""PartiQL as bulk loads use it: INSERT with a parameter for every attribute. Pure."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from bench.simulator.errors import invalid
from bench.simulator.schema import Item

_INSERT: Final = re.compile(
    r"""\s*INSERT\s+INTO\s+(?:"((?:[^"]|"")+)"|([A-Za-z0-9_.\-]+))\s+VALUE\s+\{(.*)\}\s*;?\s*""",
    re.IGNORECASE | re.DOTALL,
)
_MEMBER: Final = re.compile(r"\s*'((?:[^']|'')*)'\s*:\s*\?\s*(,|\Z)")


@lru_cache(maxsize=1_000)
def parse_insert(statement: str) -> tuple[str, tuple[str, ...]]:
    """Return the table and the attributes that an INSERT names.

    Raises: ApiError for any other statement.
    """
    match = _INSERT.fullmatch(statement)
    if match is None:
        raise _ill_formed("only INSERT INTO \"table\" VALUE {'name': ?} is known here")
    names: list[str] = []
    body, at = match[3], 0
    while at < len(body):
        member = _MEMBER.match(body, at)
        if member is None:
            raise _ill_formed(f"expected 'name': ? at {body[at : at + 20]!r}")
        names.append(member[1].replace("''", "'"))
        at = member.end()
    return (match[1] or match[2]).replace('""', '"'), tuple(names)


def insert_item(names: Sequence[str], request: Mapping[str, Any]) -> Item:
    """Return the item that an INSERT with these parameters writes."""
    parameters = request.get("Parameters") or ()
    if len(parameters) != len(names):
        raise invalid("Number of parameters in request and statement don't match.")
    return dict(zip(names, parameters, strict=True))


def _ill_formed(what: str) -> Exception:
    return invalid(f"Statement wasn't well formed, can't be processed: {what}")
