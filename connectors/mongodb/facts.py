"""What is known of a collection beyond how to read it: what will be slow, or come from another moment.

Invariant: reads settings and clocks only, no documents.
"""

from collections.abc import Sequence
from typing import Any

from pymongo.errors import OperationFailure

from connectors.mongodb.catalog import CollectionInfo
from connectors.mongodb.logged import log_window
from connectors.mongodb.section import MongoDBSection
from connectors.mongodb.watermark import server_time, within_overlap
from engine.frozen import dataclass

MANY_DOCUMENTS = 100_000
"""From so many on it takes seconds to look at all of them."""
LAG_S = 10.0
"""How old a snapshot may be when it is taken; the server marks one every few seconds without writes, too."""
SNAPSHOT_KEPT_S = 300
"""Source: MongoDB manual, minSnapshotHistoryWindowInSeconds, its default."""


@dataclass(frozen=True, slots=True)
class CollectionFacts:
    """What warnings are made of. `chosen_by` names what leaves documents out; `age_s` the snapshot's age."""

    documents: int
    chosen_by: tuple[str, ...]
    capped: bool
    read_preference: str
    age_s: float | None


async def facts(
    client: Any, section: MongoDBSection, documents: int, at: str | None, *, capped: bool
) -> CollectionFacts:
    """Look at the server. `at` is the snapshot's time as `seconds.increment`, None without one."""
    keys = {"source.filter": bool(section.filter), "source.watermark": section.watermark is not None}
    age_s = None
    if at is not None:
        age_s = (await server_time(client)).timestamp() - int(at.partition(".")[0])
    return CollectionFacts(
        documents,
        tuple(name for name, is_set in keys.items() if is_set),
        capped,
        str(client.read_preference.mongos_mode),
        age_s,
    )


def warnings(found: CollectionFacts) -> Sequence[str]:
    """Say what may surprise."""
    said = []
    if found.chosen_by and found.documents >= MANY_DOCUMENTS:
        whom = " and ".join(found.chosen_by)
        when = "each catch-up run" if found.chosen_by == ("source.watermark",) else "each run"
        said.append(
            f"For {whom} the server looks at all {found.documents:,} documents in {when}, whatever indexes"
            " there are: documents are read in the order of _id."
        )
    if found.capped:
        said.append(
            "The collection is capped: a document that newer ones push out before it is read is not loaded;"
            " items of those that are pushed out later stay, and verify counts them as forgotten."
        )
    if found.read_preference != "primary" and found.age_s is None:
        said.append(
            f"source.url lets secondaries answer (readPreference={found.read_preference}), and there is no"
            " snapshot: what has not reached them yet is not read; read from the primary, or verify later."
        )
    if found.age_s is not None and found.age_s > LAG_S:
        said.append(
            f"The snapshot is {found.age_s:,.0f} s old: the members that answer lag behind, and later changes"
            " are not in it; wait until they have caught up, or use source.watermark and run once more."
        )
    return said


async def told(client: Any, section: MongoDBSection, found: CollectionInfo, at: str | None) -> Sequence[str]:
    """Return what a plan says of a collection."""
    collection = client[section.database][section.collection]
    said = [*warnings(await facts(client, section, found.documents, at, capped=found.capped))]
    if section.watermark is not None:
        lately = await within_overlap(collection, section.watermark, await server_time(client))
        said.append(section.watermark.rereads(lately, planned=True))
    return said


async def lasts(client: Any, section: MongoDBSection, load_s: float, load: str) -> Sequence[str]:
    """Return what a load that takes so long has to expect; `load` is that in words."""
    kept_s = await snapshot_kept_s(client)
    said = [outlasts(kept_s, load)] if load_s > kept_s else []
    window = None if section.catch_up is None else await log_window(client)
    if window is not None and window.full and load_s > window.span_s:
        said.append(
            f"The load takes about {load}, and {window.told}: the catch-up run after it would have lost its"
            " place; have the server keep more (replSetResizeOplog) before it begins."
        )
    return said


async def snapshot_kept_s(client: Any) -> float:
    """Return how long the server keeps a snapshot that is read."""
    name = "minSnapshotHistoryWindowInSeconds"
    try:
        return float((await client.admin.command({"getParameter": 1, name: 1}))[name])
    except (OperationFailure, KeyError):  # a role without this right, or a service that hides it
        return SNAPSHOT_KEPT_S


def outlasts(kept_s: float, load: str) -> str:
    """Say what becomes of a load that takes longer than a snapshot is kept. `load`: how long, in words."""
    return (
        f"The load takes about {load}, and the server keeps a snapshot for {kept_s:,.0f} s: what is read"
        " later is from a newer one. Raise minSnapshotHistoryWindowInSeconds for the time of the load (it"
        " costs the server cache and disk), or use source.watermark and run once more."
    )
