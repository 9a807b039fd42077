"""What `init` writes for a MongoDB collection."""

from collections.abc import Iterator, Mapping

from connectors.mongodb.introspect import CollectionSeen, PathSeen, look_at
from engine.contracts.starter import FieldSeen, Starter
from engine.errors import JobError
from engine.job.yaml_text import comment, quoted

ALWAYS = 0.9995
"""A share that is written as all of them."""


async def look(url: str, options: Mapping[str, str | None]) -> Starter:
    """Look at a collection; see contracts.starter.SourceStarter."""
    collection = options["collection"]
    if collection is None or options["table"] is not None:
        raise JobError("--collection: say which collection of this MongoDB server to look at")
    return starter_of(await look_at(url, options["database"], collection))


def starter_of(seen: CollectionSeen) -> Starter:
    """Say what a job for a collection looks like. Pure."""
    name = comment(f"{seen.database}.{seen.collection}")
    return Starter(
        name=seen.collection,
        about=[
            f"A starter job for {name}, about {seen.documents:,} documents.",
            "Check what it would do, then do it:",
        ],
        url="mongodb://USER:PASSWORD@HOST:PORT/?replicaSet=NAME&tls=true",
        fields=[FieldSeen(field.path, None, _types(field)) for field in seen.fields],
        fields_are=f"Its fields in {seen.sampled:,} documents drawn at random, and their types:",
        section=list(_section(seen)),
        key=["_id"],
        rule=[
            "include: all                     # every field under its own name, with its own type",
            "# exclude: [_class]",
        ],
        more=_lists(seen),
    )


def _section(seen: CollectionSeen) -> Iterator[str]:
    yield f"database: {quoted(seen.database)}"
    yield f"collection: {quoted(seen.collection)}"
    yield "# filter: {status: {$ne: draft}}    # a MongoDB query: only these documents are read"
    if seen.watermark is not None:
        index = "" if seen.watermark_indexed else "; give it an index first"
        yield f"# Catch-up runs read what has changed; every change must move this field{index}."
        yield f"# watermark: {quoted(seen.watermark)}"


def _lists(seen: CollectionSeen) -> list[str]:
    for field in seen.fields:
        if "." not in field.path and field.types[0][0] == "array":
            return [
                f"# A list can become items of its own: a rule with `for_each: {comment(field.path)}`,",
                "# {each.NAME} for an element's field and {index} for its place.",
            ]
    return []


def _types(field: PathSeen) -> str:
    types = ", ".join(
        kind if share >= ALWAYS else f"{kind} {100 * share:.1f} %" for kind, share in field.types
    )
    return types if field.share >= ALWAYS else f"{types}  (in {100 * field.share:.1f} % of the documents)"
