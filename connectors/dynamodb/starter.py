"""What `init` writes for a DynamoDB table. Pure."""

import re
from collections.abc import Iterator, Sequence

from connectors.dynamodb.encoding.keys import type_letters
from engine.job.yaml_text import quoted
from engine.kinds import Kind

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_.-]+")
TABLE_NAME_MIN = 3
"""Characters of a table's name. Source: API_CreateTable, TableName."""


class DynamoDBStarter:
    """contracts.starter.TargetStarter for DynamoDB tables."""

    types_are = "DynamoDB type"

    def type_of(self, kind: Kind) -> str:
        """Return an attribute type's letters."""
        return type_letters(kind) or "any"

    def section(self, name: str, key: tuple[str, str], *, single: bool) -> Sequence[str]:
        """Return the lines of the section; `single` suggests an index."""
        return list(_section(name, key, single=single))


def _section(name: str, key: tuple[str, str], *, single: bool) -> Iterator[str]:
    partition, sort = key
    yield f"table: {quoted(table_name(name))}"
    yield "# region: us-east-1                # default: the AWS configuration's"
    yield "# endpoint_url: http://127.0.0.1:8000   # a local server instead of AWS"
    yield "# max_wcu: 4000                    # leave room for the application"
    yield "create:                            # what `backfill table create` makes"
    yield f"  partition_key: {partition}"
    yield f"  sort_key: {sort}"
    yield "  billing: on_demand"
    yield "  # pitr: true"
    yield "  # warm_throughput: {write: 40000}  # for a large load; `backfill plan` says whether it pays"
    if single:
        yield "  # gsi:"
        yield "  #   - {name: GSI1, partition_key: GSI1PK}"


def table_name(name: str) -> str:
    """Return a table's name like a source's."""
    cleaned = _FORBIDDEN.sub("-", name).strip("-")
    return cleaned if len(cleaned) >= TABLE_NAME_MIN else f"{cleaned or 'app'}-data"
