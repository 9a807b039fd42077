"""Encoded batches made by hand."""

import json
import zlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from engine.batch import Batch, EncodedBatch


def text(value: str) -> dict:
    return {"S": value}


def put(pk: str, sk: str = "0", **attributes: dict) -> dict:
    return {"PutRequest": {"Item": {"PK": text(pk), "SK": text(sk), **attributes}}}


def delete(pk: str, sk: str = "0") -> dict:
    return {"DeleteRequest": {"Key": {"PK": text(pk), "SK": text(sk)}}}


def key_of(entry: dict) -> tuple[str, str]:
    item = entry.get("PutRequest", {}).get("Item") or entry["DeleteRequest"]["Key"]
    return item["PK"]["S"], item["SK"]["S"]


def encoded(
    entries: Sequence[dict],
    *,
    keys: Sequence[tuple[str, str]] | None = None,
    units: int | Sequence[int] = 1,
    segment: int = 0,
    sequence: int = 0,
    skipped: int = 0,
) -> EncodedBatch:
    """Make a batch of the entries; `keys` where they can't be read out of the entries."""
    texts = [json.dumps(entry, separators=(",", ":")).encode() + b"," for entry in entries]
    names = [key_of(entry) for entry in entries] if keys is None else list(keys)
    count = len(entries)
    rows = pa.record_batch({"id": pa.array([str(row) for row in range(count)], pa.string())})
    return EncodedBatch(
        batch=Batch(segment, sequence, rows, None),
        text=memoryview(b"".join(texts)),
        offsets=np.cumsum([0, *map(len, texts)]).astype(np.int64),
        units=np.broadcast_to(np.asarray(units, dtype=np.int32), (count,)).copy(),
        key_hashes=np.array([zlib.crc32("\0".join(name).encode()) for name in names], dtype=np.uint64),
        partition_hashes=np.array([zlib.crc32(name[0].encode()) for name in names], dtype=np.uint64),
        deletes=np.array(["DeleteRequest" in entry or "Key" in entry for entry in entries], dtype=np.bool_),
        rows=np.arange(count, dtype=np.uint32),
        rules=np.zeros(count, dtype=np.uint16),
        emitted=count + skipped,
        dead_letters=(),
        skipped_rows=np.zeros(skipped, dtype=np.uint32),
    )
