"""A starter job file for a MongoDB collection. Pure.

Invariant: the text is a job file that loads and runs as it is; suggestions that could fail are comments.
"""

from collections.abc import Iterator

from connectors.mongodb.introspect import CollectionSeen, FieldSeen
from engine.commands.init.yaml_text import comment, job_name, literal, mapped, quoted, table_name, unused

ALWAYS = 0.9995
"""A share that is written as all of them."""


def job_file(seen: CollectionSeen) -> str:
    """Write the job file."""
    names = [field.path for field in seen.fields]
    partition, sort = (unused(name, names) for name in ("PK", "SK"))
    return "\n".join(_lines(seen, names, partition, sort)) + "\n"


def _lines(seen: CollectionSeen, names: list[str], partition: str, sort: str) -> Iterator[str]:
    name = comment(f"{seen.database}.{seen.collection}")
    yield f"# A starter job for {name}, about {seen.documents:,} documents."
    yield "# Check what it would do, then do it:"
    yield "#"
    yield "#   export SOURCE_URL=mongodb://USER:PASSWORD@HOST:PORT/?replicaSet=NAME"
    yield "#   backfill plan JOB.yaml"
    yield "#   backfill table create JOB.yaml"
    yield "#   backfill run JOB.yaml"
    yield "#"
    yield f"# Its fields in {seen.sampled:,} documents drawn at random, and their types:"
    width = max((len(comment(field.path)) for field in seen.fields), default=0)
    for field in seen.fields:
        yield f"#   {comment(field.path):{width}}  {_types(field)}"
    yield ""
    yield f"name: {quoted(job_name(seen.collection))}"
    yield ""
    yield "source:"
    yield "  type: mongodb"
    yield "  url: ${SOURCE_URL}"
    yield f"  database: {quoted(seen.database)}"
    yield f"  collection: {quoted(seen.collection)}"
    yield "  # filter: {status: {$ne: draft}}    # a MongoDB query: only these documents are read"
    if seen.watermark is not None:
        index = "" if seen.watermark_indexed else "; give it an index first"
        yield f"  # Catch-up runs read what has changed; every change must move this field{index}."
        yield f"  # watermark: {quoted(seen.watermark)}"
    yield ""
    yield "target:"
    yield "  type: dynamodb"
    yield f"  table: {quoted(table_name(seen.collection))}"
    yield "  # region: us-east-1                # default: the AWS configuration's"
    yield "  # endpoint_url: http://127.0.0.1:8000   # a local server instead of AWS"
    yield "  # max_wcu: 4000                    # leave room for the application"
    yield "  create:                            # what `backfill table create` makes"
    yield f"    partition_key: {partition}"
    yield f"    sort_key: {sort}"
    yield "    billing: on_demand"
    yield "    # pitr: true"
    yield "    # warm_throughput: {write: 40000}  # for a large load; `backfill plan` says whether it pays"
    yield ""
    yield "items:"
    yield f"  - name: {quoted(seen.collection)}"
    prefix = literal(seen.collection.upper())
    yield f"    key: {mapped({partition: f'{prefix}#{{_id}}', sort: prefix})}"
    yield "    include: all                     # every field under its own name, with its own type"
    yield "    # exclude: [_class]"
    yield "    attributes:"
    yield f"      {unused('EntityType', names)}: {quoted(literal(seen.collection))}"
    for field in seen.fields:
        if "." not in field.path and field.types[0][0] == "array":
            yield f"  # A list can become items of its own: a rule with `for_each: {comment(field.path)}`,"
            yield "  # {each.NAME} for an element's field and {index} for its place."
            return


def _types(field: FieldSeen) -> str:
    types = ", ".join(
        kind if share >= ALWAYS else f"{kind} {100 * share:.1f} %" for kind, share in field.types
    )
    return types if field.share >= ALWAYS else f"{types}  (in {100 * field.share:.1f} % of the documents)"
