"""A DynamoDB table as the pipeline's target: encoder, writer, session and transport put together.

Invariant: what is sent belongs to this event loop; `encode` belongs to nobody and may run in any thread.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from random import Random, SystemRandom

from connectors.dynamodb.connector import section_of
from connectors.dynamodb.encoding.encode import Encoder
from connectors.dynamodb.http.sender import Sender
from connectors.dynamodb.http.session import open_session
from connectors.dynamodb.http.transport import UnderTenure
from connectors.dynamodb.lookout import Lookout
from connectors.dynamodb.modes import write_mode
from connectors.dynamodb.sharing import Clients
from connectors.dynamodb.table_info import TableInfo
from connectors.dynamodb.writing.settings import WriterSettings
from connectors.dynamodb.writing.writer import Writer
from engine.batch import Batch, EncodedBatch, Fates, WriteReport
from engine.contracts.transform import RuleItems, RuleShape
from engine.job.model import Job
from engine.kinds import RowSchema
from engine.meter import Meter
from engine.tenure import NEVER, Tenure
from engine.throttle.concurrency import FLIGHT_MAX

log = logging.getLogger(__name__)


class TableTarget:
    """contracts.Target for one table and one process."""

    def __init__(self, encoder: Encoder, writer: Writer, sender: Sender) -> None:
        self._encoder = encoder
        self._writer = writer
        self._sender = sender

    def encode(self, batch: Batch, items: Sequence[RuleItems]) -> EncodedBatch:
        """Turn items into wire text, with every limit checked. Safe to call from several threads."""
        return self._encoder.encode(batch, items)

    async def write(self, encoded: EncodedBatch) -> WriteReport | Fates:
        """Write all items and return once each is written, deleted, skipped or refused for good.

        After `drain` it returns what there is once nothing of the batch is in flight.

        Ordering: none between batches that are written at the same time; they may share requests, so no two
        of them may hold the same key.
        Raises: PermanentError, RetriesExhausted; then every later call does, too.
        """
        return await self._writer.write(encoded)

    def progress(self, encoded: EncodedBatch) -> Fates | None:
        """Return how the items of a batch stand that is being written."""
        return self._writer.progress(encoded)

    def drain(self) -> None:
        """Begin nothing new, for good."""
        self._writer.drain()

    def flush(self) -> None:
        """Do nothing: items are acked one by one."""

    def limit(self, units_per_s: float | None) -> None:
        """Set this process's share of the hard cap; None: no cap."""
        self._writer.limit(units_per_s)

    async def close(self) -> None:
        """Close every connection of its own. What is in flight is abandoned."""
        await self._writer.close()
        await self._sender.close()


async def open_target(
    job: Job,
    table: TableInfo,
    schema: RowSchema,
    rules: Sequence[RuleShape],
    meter: Meter,
    notice: Callable[[str], None],
    random: Random | None = None,
    *,
    tenure: Tenure | None = None,
    clients: Clients | None = None,
) -> TableTarget:
    """Open the job's table for writing. Nothing is sent before the first batch, nor behind `tenure`'s end.

    `notice` is told when the table goes away and when it is back. `clients`: those of other jobs, too.
    Raises: JobError when region, endpoint or credentials are missing.
    """
    section = section_of(job)
    tenure = tenure or Tenure()
    sender: Sender
    if clients is None:
        session = await open_session(section)
        transport = session.transport(connections_max=FLIGHT_MAX, greeting=Lookout(table, section.table))
        sender = UnderTenure(transport, tenure, lent=False)
    else:
        session = await clients.session(section)
        sender = await clients.sender(section, table, tenure)
    encoder = Encoder(
        table,
        table=section.table,
        mode=write_mode(section.mode),
        version=section.version,
        options=job.options,
        key_columns=schema.key,
        skips=table.ttl if section.expired == "skip" else None,
    )
    settings = WriterSettings(
        mode=write_mode(section.mode),
        table=section.table,
        key=tuple(attribute.name for attribute in table.keys),
        rules=tuple(rule.name for rule in rules),
        source_key=schema.key,
        give_up_after_s=section.give_up_after_s,
        fail_on_refusal=job.options.on_invalid == "fail",
        stop_after_refusals=section.stop_after_refusals,
        wcu_start=NEVER if session.endpoint.loopback else capacity(table),
    )
    show = partial(log.debug, "%s")  # whoever looks with `-v` sees what is decided
    writer = Writer(sender, settings, meter, session.refresh, notice, random or SystemRandom(), tenure, show)
    # The runner tells every process its share; before that, no one may take more than all.
    writer.limit(section.max_wcu)
    return TableTarget(encoder, writer, sender)


def capacity(table: TableInfo) -> float:
    """Return what the table is set to take at most, in write units per second. An emulator takes more."""
    return table.write_capacity or table.on_demand_write_max or NEVER
