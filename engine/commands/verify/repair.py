"""Makes the target what the source says, for items that were found to differ.

Invariant: what is written went through the job's own encoder and writer, in the job's own mode; nothing is
deleted unless that was asked for, the source gave rows, and it has said of that very item's row that it isn't
there.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from engine.batch import Batch
from engine.commands.verify.comparison import Compared, compare
from engine.commands.verify.opened_job import Made, OpenedJob
from engine.commands.verify.outcome import Outcome
from engine.contracts.readback import Item, TargetReader
from engine.contracts.target import written
from engine.frozen import dataclass


@dataclass(slots=True)
class Repairs:
    """What may be changed. `source_gave_rows`: a pass over the source has found any."""

    reader: TargetReader
    outcome: Outcome
    rewrites: bool = False
    deletes: bool = False
    source_gave_rows: bool = False

    @property
    def may_delete(self) -> bool:
        """Whether items may go at all."""
        return self.rewrites and self.deletes and self.source_gave_rows

    async def rewrite(self, job: OpenedJob, made: Made, differing: Sequence[Compared]) -> None:
        """Write items again as the source has them, and count those that then are right."""
        chosen = [each.at for each in differing if self.may_delete or each.expected is not None]
        if not self.rewrites or not chosen:
            return
        target = await job.target(job.job.target.mode)
        own = made.encoded
        if job.keeps:
            own = target.encode(made.batch, job.stages.transform(made.batch))
        wanted = np.isin(own.key_hashes, made.encoded.key_hashes[chosen])
        await written(target, own.subset(np.flatnonzero(wanted)))
        for each in await compare(job, self.reader, made, chosen):
            if each.difference is None and each.actual is None:
                self.outcome.deleted += 1
            elif each.difference is None:
                self.outcome.repaired += 1

    async def delete(self, job: OpenedJob, keys: Sequence[Item]) -> None:
        """Delete items whose rows the source, asked for them, hasn't got."""
        if not self.may_delete:
            return
        target = await job.target("put")
        row = pa.RecordBatch.from_pylist([{}], job.source.ticket.schema.arrow())
        await written(target, job.codec.deletes(Batch(0, 0, row, None), keys))
        self.outcome.deleted += len(keys) - len(await self.reader.get(keys))
