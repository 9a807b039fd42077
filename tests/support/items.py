"""Items by hand: what a transform would hand to an encoder, from plain rows; and a table to encode for."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import polars as pl
import pyarrow as pa

from connectors.dynamodb.encoding.encode import Encoder
from connectors.dynamodb.modes import write_mode
from connectors.dynamodb.table_info import Index, KeyAttribute, TableInfo
from engine.batch import Batch, EncodedBatch
from engine.contracts.transform import DELETE, FLAW, ROW, Attribute, RuleItems
from engine.job.model import Options
from engine.kinds import Kind, arrow_type


def table_info(
    partition: tuple[str, str] = ("PK", "S"),
    sort: tuple[str, str] | None = ("SK", "S"),
    indexes: Sequence[Index] = (),
) -> TableInfo:
    return TableInfo(
        table_id="",
        name="app-data",
        arn="arn:aws:dynamodb:us-east-1:000000000000:table/app-data",
        created_at="2024-01-01T00:00:00Z",
        status="ACTIVE",
        partition_key=KeyAttribute(*partition),
        sort_key=None if sort is None else KeyAttribute(*sort),
        indexes=tuple(indexes),
        billing="on_demand",
        read_capacity=None,
        write_capacity=None,
        on_demand_write_max=None,
        warm_read=None,
        warm_write=None,
        item_count=0,
        size_bytes=0,
        pitr=None,
        stream=None,
        replicas=(),
    )


def index(name: str, *keys: tuple[str, str]) -> Index:
    return Index(
        name, False, "ACTIVE", tuple(KeyAttribute(*key) for key in keys), "ALL", (), None, None, None
    )


def rule_items(
    kinds: Mapping[str, Kind], rows: Sequence[Mapping[str, Any]], rule: int = 0, name: str = "Order"
) -> RuleItems:
    """Rows may hold ROW, DELETE and FLAW besides attributes; a missing attribute is null."""
    columns: dict[str, Any] = {
        str(place): pl.from_arrow(pa.array([row.get(attribute) for row in rows], arrow_type(kind)))
        for place, (attribute, kind) in enumerate(kinds.items())
    }
    columns[ROW] = pl.Series([row.get(ROW, place) for place, row in enumerate(rows)], dtype=pl.UInt32)
    columns[DELETE] = pl.Series([row.get(DELETE, False) for row in rows], dtype=pl.Boolean)
    columns[FLAW] = pl.Series([row.get(FLAW) for row in rows], dtype=pl.String)
    attributes = tuple(Attribute(attribute, kind) for attribute, kind in kinds.items())
    return RuleItems(rule, name, attributes, pl.DataFrame(columns))


def batch_of(rows: int) -> Batch:
    return Batch(
        0, 0, pa.RecordBatch.from_pydict({"id": pa.array([str(100 + n) for n in range(rows)])}), None
    )


def encoder(info: TableInfo | None = None, **changes: Any) -> Encoder:
    options = Options(
        **{key: changes.pop(key) for key in ("nulls", "numbers", "on_invalid") if key in changes}
    )
    settings: dict[str, Any] = {"table": "app-data", "mode": "put", "version": None, "key_columns": ("id",)}
    settings |= changes
    settings["mode"] = write_mode(settings["mode"])
    return Encoder(info or table_info(), options=options, **settings)


def encoded(*rules: RuleItems, info: TableInfo | None = None, **changes: Any) -> EncodedBatch:
    rows = max((int(rule.frame[ROW].max() or 0) + 1 for rule in rules if len(rule.frame)), default=0)  # type: ignore[arg-type]
    result = encoder(info, **changes).encode(batch_of(rows), rules)
    check(result)
    return result


def check(result: EncodedBatch) -> None:
    """What holds for every encoded batch."""
    n = len(result)
    assert result.offsets[0] == 0
    assert result.offsets[-1] == len(result.text)
    for column in (
        result.units,
        result.key_hashes,
        result.partition_hashes,
        result.deletes,
        result.rows,
        result.rules,
    ):
        assert len(column) == n
    settled = n + result.coalesced + result.skipped + len(result.dead_letters)
    assert result.emitted == settled, "every item is accounted for"
    for place in range(n):
        assert result.text[result.offsets[place + 1] - 1] == ord(",")
        orjson.loads(result.item(place))
    assert len(set(result.key_hashes.tolist())) == n, "no key twice"


def puts(result: EncodedBatch) -> list[dict[str, Any]]:
    """The items of the puts, by source row and rule."""
    order = sorted(range(len(result)), key=lambda place: (result.rows[place], result.rules[place]))
    requests = [orjson.loads(result.item(place)) for place in order if not result.deletes[place]]
    return [request["PutRequest"]["Item"] for request in requests]
