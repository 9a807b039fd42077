"""Whose data a server has: told from another server, or an older state, behind the same address.

Invariant: a restart, a step-down, an election or a member that was added changes nothing here; another
deployment or a history that lacks a write which most members had is told, as far as the role may look.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bson.timestamp import Timestamp
from pymongo import ReadPreference
from pymongo.errors import OperationFailure

from connectors.mongodb.place_in_log import moment_text
from connectors.mongodb.session import MAX_TIME_MS
from engine.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Server:
    """What a server showed of itself at a time.

    Shape: `deployment` the id of a replica set or cluster, of a standalone the start at which it was seen;
    `time` what most members had written, as `seconds.increment`, and `term` the election in which it was.
    None: it doesn't show it, or the role mayn't look. `process` names the server's process.
    """

    kind: str
    name: str | None
    deployment: str | None
    time: str | None
    term: int | None
    process: str | None


async def observe(client: Any) -> Server:
    """Look whose data the server has."""
    hello = await _hello(client)
    kind = "sharded" if hello.get("msg") == "isdbgrid" else "set" if "setName" in hello else "standalone"
    deployment = await _DEPLOYMENTS[kind](client)
    committed = hello.get("lastWrite", {}).get("majorityOpTime", {})
    time, term = committed.get("ts"), committed.get("t")
    return Server(
        kind,
        hello.get("setName"),
        deployment,
        f"{time.time}.{time.inc}" if isinstance(time, Timestamp) else None,
        int(term) if term is not None else None,
        _process(hello),
    )


async def checked(client: Any, before: Server) -> tuple[Server, str | None]:
    """Look whether the server still is who it was; return it as seen now, and what differs if something does.

    While its process is the same one, nothing can have changed.
    """
    hello = await _hello(client)
    if before.process is not None and _process(hello) == before.process:
        return before, None
    difference = await differs(client, before)
    return replace(before, process=_process(hello)), difference


async def differs(client: Any, before: Server) -> str | None:
    """Say in what the server isn't the one from before; None when it is, as far as can be told."""
    now = await observe(client)
    if now.kind != before.kind or now.name != before.name:
        return f"it was {_named(before)} and is {_named(now)}"
    if before.kind == "standalone":
        missing = before.deployment is not None and now.deployment is not None
        missing = missing and not await _has_started(client, before.deployment or "")
        return "it has never been started when the other one was" if missing else None
    if None not in (before.deployment, now.deployment) and now.deployment != before.deployment:
        return f"its id was {before.deployment} and is {now.deployment}"
    if before.time is None:
        return None
    hello = await _hello(client)
    if not hello.get("isWritablePrimary"):
        return None  # another member may lag, and says nothing of what most have
    written = hello.get("lastWrite", {}).get("opTime", {})
    seconds, _, increment = before.time.partition(".")
    time = Timestamp(int(seconds), int(increment))
    older = f"it lacks what was written at {moment_text(time)}, so it has an older state, or another history"
    if written.get("ts") is not None and written["ts"] < time:
        return older
    if before.term is not None and written.get("t") is not None and written["t"] < before.term:
        return older
    return older if await _lacks(client, time, before.term) else None


async def _hello(client: Any) -> Mapping[str, Any]:
    hello: Mapping[str, Any] = await client.admin.command("hello", read_preference=client.read_preference)
    return hello


def _process(hello: Mapping[str, Any]) -> str | None:
    process = hello.get("topologyVersion", {}).get("processId")
    return None if process is None else f"{process} {hello.get('me')}"


async def _set_id(client: Any) -> str | None:
    found = await first(client.local["system.replset"], {}, {"settings.replicaSetId": 1})
    return None if found is None else str(found.get("settings", {}).get("replicaSetId"))


async def _cluster_id(client: Any) -> str | None:
    found = await first(client.config.version, {}, {"clusterId": 1})
    return None if found is None else str(found.get("clusterId"))


async def _last_start(client: Any) -> str | None:
    found = await first(client.local.startup_log, {}, {"_id": 1}, sort=[("$natural", -1)])
    return None if found is None else str(found["_id"])


_DEPLOYMENTS = {"set": _set_id, "sharded": _cluster_id, "standalone": _last_start}


async def _has_started(client: Any, start: str) -> bool:
    return await first(client.local.startup_log, {"_id": start}, {"_id": 1}) is not None


async def _lacks(client: Any, time: Timestamp, term: int | None) -> bool:
    """Say whether the log, as far as it goes back, hasn't got a write that most members had."""
    log = client.local.get_collection("oplog.rs", read_preference=ReadPreference.PRIMARY)
    oldest = await first(log, {}, {"ts": 1}, sort=[("$natural", 1)])
    if oldest is None or oldest["ts"] > time:
        return False
    found = await first(log, {"ts": {"$gte": time}}, {"ts": 1, "t": 1}, sort=[("$natural", 1)])
    return found is None or found["ts"] != time or (term is not None and found.get("t", term) != term)


async def first(collection: Any, where: Any, projection: Any, **more: Any) -> Any:
    """Return the first document; None where there is none, or where the role mayn't look."""
    try:
        return await collection.find_one(where, projection, max_time_ms=MAX_TIME_MS, **more)
    except OperationFailure:
        return None


def _named(server: Server) -> str:
    what = {"set": "the replica set", "sharded": "a sharded cluster", "standalone": "a standalone server"}
    return what.get(server.kind, server.kind) + (f" {server.name}" if server.name else "")
