"""Servers that speak MongoDB's protocol and aren't MongoDB: told by what they say of themselves.

Invariant: what is refused is refused before anything is read, in one sentence that says what is lacking.
"""

import re
from collections.abc import Mapping
from typing import Any

from pymongo.errors import OperationFailure

from connectors.mongodb.errors import ATLAS, said
from engine.errors import JobError

_HOSTS = {
    "Amazon DocumentDB": re.compile(r"\.docdb(-elastic)?\.amazonaws\.com(\.cn)?\b", re.IGNORECASE),
    "Azure Cosmos DB": re.compile(r"\.(cosmos|documents)\.azure\.(com|us|cn)\b", re.IGNORECASE),
}
"""Source: mongodb-js/mongodb-build-info, which tells them so to MongoDB's own tools."""
_LACKS = (
    "it has no ranges of _id over all types (min, max) and no snapshot reads, so documents could be left out"
)
_WAY_OUT = "load from a MongoDB that it is copied to"


async def check(client: Any, place: str) -> None:
    """See that the server is a MongoDB.

    Raises: JobError when it only looks like one; what the driver raises.
    """
    build = await _asked(client, "buildInfo")
    name = known(place, build, {}) or known(place, build, await _asked(client, "getCmdLineOpts"))
    if name is not None:
        raise JobError(
            f"source.url: this is {name}, which speaks MongoDB's language and can't be read as one: {_LACKS};"
            f" {_WAY_OUT}"
        )


async def _asked(client: Any, command: str) -> Mapping[str, Any]:
    """Return an answer, or a refusal: a role without the right to ask is told so by a MongoDB."""
    try:
        answer: Mapping[str, Any] = await client.admin.command(command)
    except OperationFailure as error:
        return {} if error.code == ATLAS else {"errmsg": said(error)}
    return answer


def known(place: str, build: Mapping[str, Any], options: Mapping[str, Any]) -> str | None:
    """Return the name of a server that isn't MongoDB; None when it is one.

    Shape: `place` its hosts; `build` what buildInfo said; `options` what getCmdLineOpts said, `errmsg` where
    it was refused.
    """
    for name, host in _HOSTS.items():
        if host.search(place):
            return name
    if "_t" in build:
        return "Azure Cosmos DB"
    if any("ferretdb" in name.lower() for name in build):
        return "FerretDB"
    if "not supported" in str(options.get("errmsg", "")).lower():
        return "Amazon DocumentDB"
    return None
