"""Makes the target what the source says, for items that were found to differ.

Invariant: what is written went through the job's own encoder and writer, in the job's own mode; nothing is
deleted unless that was asked for, the source gave rows, and it has said of that very item's row that it isn't
there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import orjson
import pyarrow as pa

from engine.batch import Batch, EncodedBatch
from engine.commands.verify.desk import Desk, Looked
from engine.commands.verify.digests import key_hashes
from engine.commands.verify.findings import RIGHT, Findings, judged
from engine.commands.verify.target_pass import TargetReader
from engine.commands.verify.values import Item


@dataclass(slots=True)
class Repairs:
    """What may be changed. `source_gave_rows` is set once a pass over the source has found any."""

    reader: TargetReader
    findings: Findings
    rewrites: bool = False
    deletes: bool = False
    source_gave_rows: bool = False

    @property
    def may_delete(self) -> bool:
        """Whether items may go at all."""
        return self.rewrites and self.deletes and self.source_gave_rows

    async def rewrite(self, desk: Desk, looked: Looked, differing: Sequence[int]) -> None:
        """Write items again as the source has them, and count those that then are right."""
        expected, schema = looked.expected, desk.schema
        chosen = [
            at
            for at in differing
            if (self.deletes and self.source_gave_rows) or expected.items[at] is not None
        ]
        if not self.rewrites or not chosen:
            return
        target = await desk.target(desk.job.target.mode)
        own = looked.encoded
        if desk.keeps:
            own = target.encode(looked.batch, desk.line.transform(looked.batch))
        wanted = looked.encoded.key_hashes[chosen]
        await target.write(subset(own, np.flatnonzero(np.isin(own.key_hashes, wanted)).tolist()))
        keys = [schema.of(expected.keys[at]) for at in chosen]
        items = await self.reader.get(keys)
        found = dict(zip(key_hashes(items, schema).tolist(), items, strict=True))
        for at, key_hash in zip(chosen, key_hashes(keys, schema).tolist(), strict=True):
            actual = found.get(key_hash)
            version = expected.versions[at] if expected.versions else None
            verdict = judged(expected.items[at], actual, keeps=desk.keeps, version=desk.version, at=version)
            if verdict not in RIGHT:
                continue
            if actual is None:
                self.findings.deleted += 1
            else:
                self.findings.repaired += 1

    async def delete(self, desk: Desk, keys: Sequence[Item]) -> None:
        """Delete items whose rows the source, asked for them, hasn't got."""
        if not self.may_delete:
            return
        target = await desk.target("put")
        await target.write(deletes(desk, keys))
        self.findings.deleted += len(keys) - len(await self.reader.get(keys))


def subset(encoded: EncodedBatch, chosen: Sequence[int]) -> EncodedBatch:
    """Return some items of a batch, and nothing else that it accounts for."""
    texts = [encoded.text[encoded.offsets[at] : encoded.offsets[at + 1]] for at in chosen]
    at = np.array(chosen, np.int64)
    return replace(
        encoded,
        text=memoryview(b"".join(texts)),
        offsets=np.concatenate(([0], np.cumsum([len(text) for text in texts], dtype=np.int64))),
        wcu=encoded.wcu[at],
        key_hashes=encoded.key_hashes[at],
        partition_hashes=encoded.partition_hashes[at],
        deletes=encoded.deletes[at],
        rows=encoded.rows[at],
        rules=encoded.rules[at],
        emitted=len(at),
        dead_letters=(),
    )


def deletes(desk: Desk, keys: Sequence[Item]) -> EncodedBatch:
    """Return deletes of keys that no row stands behind."""
    schema = desk.line.source.ticket.schema.arrow()
    row = pa.RecordBatch.from_pylist([{}], schema)
    texts = [orjson.dumps({"DeleteRequest": {"Key": key}}) + b"," for key in keys]
    hashes = key_hashes(keys, desk.schema)
    count = len(keys)
    return EncodedBatch(
        batch=Batch(0, 0, row, None),
        text=memoryview(b"".join(texts)),
        offsets=np.concatenate(([0], np.cumsum([len(text) for text in texts], dtype=np.int64))),
        wcu=np.ones(count, np.int32),
        key_hashes=hashes,
        partition_hashes=hashes,
        deletes=np.ones(count, np.bool_),
        rows=np.zeros(count, np.uint32),
        rules=np.zeros(count, np.uint16),
        emitted=count,
        dead_letters=(),
    )
