"""The command `backfill init`: a source's URL in, a starter job file out.

Invariant: nothing of the URL is printed; the text is a job file that loads and runs as it is, and suggestions
that could fail are comments.
"""

import asyncio
from collections.abc import Iterator, Mapping

from engine.contracts.starter import Starter, TargetStarter
from engine.errors import JobError
from engine.job.yaml_text import comment, job_name, literal, mapped, placeholder, quoted, template, unused
from engine.registry import SOURCES, TARGETS

TARGET = "dynamodb"
"""What a starter job writes to."""


def run(url: str, options: Mapping[str, str | None]) -> str:
    """Return a job file for what a URL and options name."""
    starters = {name: found for name in SOURCES.names() if (found := SOURCES[name].starter) is not None}
    source = next((name for name, each in starters.items() if url.lower().startswith(each.schemes)), None)
    if source is None:
        schemes = " or ".join(starter.schemes[0] for starter in starters.values())
        example = next(iter(starters.values())).example
        raise JobError(f"URL: it must begin with {schemes}, such as {example}")
    target = TARGETS[TARGET].starter
    assert target is not None, "the target of a starter job can be written for"
    return job_file(source, asyncio.run(starters[source].look(url, options)), TARGET, target)


def job_file(source: str, seen: Starter, target: str, writes: TargetStarter) -> str:
    """Write the job file. Pure."""
    return "\n".join(_lines(source, seen, target, writes)) + "\n"


def _lines(source: str, seen: Starter, target: str, writes: TargetStarter) -> Iterator[str]:
    names = [field.name for field in seen.fields]
    key = (unused("PK", names), unused("SK", names))
    yield from (f"# {line}" for line in seen.about)
    yield "#"
    yield f"#   export SOURCE_URL='{seen.url}'"
    yield "#   backfill plan JOB.yaml"
    yield "#   backfill table create JOB.yaml"
    yield "#   backfill run JOB.yaml"
    yield "#"
    yield f"# {seen.fields_are.format(type=writes.types_are)}"
    width = max((len(comment(name)) for name in names), default=0)
    for field in seen.fields:
        type_ = "" if field.kind is None else f"{writes.type_of(field.kind):5}  "
        yield f"#   {comment(field.name):{width}}  {type_}{field.told}"
    yield ""
    yield f"name: {quoted(job_name(seen.name))}"
    yield ""
    yield from ("source:", f"  type: {source}", "  url: ${SOURCE_URL}")
    yield from (f"  {line}" for line in seen.section)
    yield ""
    yield from ("target:", f"  type: {target}")
    yield from (f"  {line}" for line in writes.section(seen.name, key, single=seen.single is not None))
    yield ""
    yield from _items(seen, names, key)


def _items(seen: Starter, names: list[str], key: tuple[str, str]) -> Iterator[str]:
    yield "items:"
    yield f"  - name: {quoted(seen.name)}"
    if not seen.proved:
        yield "    # CHANGE THIS: nothing proves that these columns tell rows apart (`backfill plan --full`)."
    yield f"    key: {mapped(dict(zip(key, _key(seen), strict=True)))}"
    yield from (f"    {line}" for line in seen.rule)
    yield "    attributes:"
    yield f"      {unused('EntityType', names)}: {quoted(literal(seen.name))}"
    if seen.single is not None:
        text = template(f"{literal(seen.single.upper())}#{placeholder(seen.single)}")
        yield f"      # GSI1PK: {text}      # finds an item by its {comment(seen.single)}"
    yield from (f"  {line}" for line in seen.more)


def _key(seen: Starter) -> tuple[str, str]:
    """Return the key's templates: the first field in the partition key, all others in the sort key."""
    prefix = literal(seen.name.upper())
    first, *others = seen.key
    rest = "#".join(f"{literal(name.upper())}#{placeholder(name)}" for name in others)
    return f"{prefix}#{placeholder(first)}", rest or prefix
