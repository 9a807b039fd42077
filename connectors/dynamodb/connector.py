"""DynamoDB as the table of targets has it.

Invariant: nothing heavy is loaded before an end is opened; a job of another type never comes here.
"""

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from connectors.dynamodb.limits import REQUEST_LIFE_S
from connectors.dynamodb.section import DynamoDBSection
from engine.contracts.planning import Measurer
from engine.contracts.readback import ItemCodec, TargetReader
from engine.contracts.starter import TargetStarter
from engine.contracts.target import Look, Target, TargetAbilities, TargetInfo
from engine.contracts.transform import RuleShape
from engine.job.model import Job
from engine.kinds import RowSchema
from engine.meter import Meter
from engine.tenure import Tenure

if TYPE_CHECKING:
    from connectors.dynamodb.sharing import Clients
    from connectors.dynamodb.table_info import TableInfo
    from engine.contracts.documents import DocumentCodec


PROCESS_WCU_PER_S = 40_000
"""What one process fills with ease, at 7 to 13 µs an item of a kilobyte; a table's default quota."""


def section_of(job: Job) -> DynamoDBSection:
    """Return the target's section of a job that writes to DynamoDB."""
    assert isinstance(job.target, DynamoDBSection), "the table of targets goes by type"
    return job.target


class DynamoDBConnector:
    """registry.TargetConnector for DynamoDB tables. `clients` are those that jobs of a process share."""

    section = DynamoDBSection
    abilities = TargetAbilities(
        reads_back=True, deletes=True, creates=True, acks="item", late_s=REQUEST_LIFE_S
    )

    def __init__(self, clients: "Clients | None" = None) -> None:
        self._clients = clients

    @asynccontextmanager
    async def shared(self) -> AsyncGenerator["DynamoDBConnector", None]:
        """Yield this connector for jobs that run in one process: what one has opened, others use, too."""
        from connectors.dynamodb.sharing import Clients

        async with AsyncExitStack() as stack:
            yield DynamoDBConnector(Clients(stack))

    @property
    def starter(self) -> TargetStarter:
        """How `init` writes for a table."""
        from connectors.dynamodb.starter import DynamoDBStarter

        return DynamoDBStarter()

    def documents(self) -> "DocumentCodec":
        """Return how DynamoDB writes documents."""
        from connectors.dynamodb.documents.codec import DOCUMENTS

        return DOCUMENTS

    async def describe(self, job: Job) -> TargetInfo | None:
        """Return the table, or None if there is no such table."""
        from connectors.dynamodb.table import describe

        ask = describe if self._clients is None else self._clients.describe
        return await ask(section_of(job))

    def planned(self, job: Job) -> TargetInfo | None:
        """Return the table that `target.create` describes."""
        from connectors.dynamodb.table_request import planned_table

        section = section_of(job)
        return None if section.create is None else planned_table(section)

    def check(self, info: TargetInfo, job: Job) -> None:
        """See that the rules give the table's key, and that it takes writes. Raises: JobError."""
        from connectors.dynamodb.table import check_keys

        check_keys(_table(info), job)

    async def create(self, job: Job, say: Callable[[str], None]) -> None:
        """Create the table and wait until it is active."""
        from connectors.dynamodb.table import create

        await create(section_of(job), say)

    async def open(
        self,
        job: Job,
        info: TargetInfo,
        schema: RowSchema,
        rules: Sequence[RuleShape],
        meter: Meter,
        notice: Callable[[str], None],
        tenure: Tenure,
    ) -> Target:
        """Open the table for writing. Raises: JobError when region, endpoint or credentials are missing."""
        from connectors.dynamodb.target import open_target

        return await open_target(
            job, _table(info), schema, rules, meter, notice, tenure=tenure, clients=self._clients
        )

    def workers_max(self, job: Job, info: TargetInfo) -> int | None:
        """Return how many processes fill the table's capacity, or the job's cap."""
        from connectors.dynamodb.target import capacity

        section, table = section_of(job), _table(info)
        most = min(capacity(table), section.max_wcu or math.inf)
        return None if math.isinf(most) else math.ceil(most / PROCESS_WCU_PER_S)

    def measurer(
        self, job: Job, info: TargetInfo, *, exists: bool, sample: int, prices: Path | None
    ) -> Measurer:
        """Return what says in a plan what a load means for the table. Raises: JobError (the price list)."""
        from connectors.dynamodb.planning.forecast import PlannedTable
        from connectors.dynamodb.planning.measure import TableMeasurer
        from connectors.dynamodb.planning.prices import load_prices

        section = section_of(job)
        skips = section.expired == "skip"
        planned = PlannedTable(
            _table(info), exists, section.mode, section.max_wcu, load_prices(prices), skips_expired=skips
        )
        return TableMeasurer(planned, job, sample)

    def unit_usd(self, info: TargetInfo) -> float:
        """Return the packaged price of a write unit as the table pays for it, in every replica."""
        from connectors.dynamodb.planning.prices import load_prices, unit_usd

        table = _table(info)
        return unit_usd(table, load_prices(None))[table.billing]

    @asynccontextmanager
    async def watch(self, job: Job, info: TargetInfo) -> AsyncGenerator[Look, None]:
        """Yield what looks whether the table is still the one that was described."""
        from connectors.dynamodb.lookout import watched

        if self._clients is not None:
            yield await self._clients.look(section_of(job), _table(info))
            return
        async with watched(section_of(job), _table(info)) as look:
            yield look

    def codec(self, info: TargetInfo) -> ItemCodec:
        """Return what tells of the table's items what a comparison has to know."""
        from connectors.dynamodb.reading.codec import TableCodec

        return TableCodec(_table(info).keys, _table(info).ttl)

    async def open_reader(
        self, job: Job, info: TargetInfo, units_per_s: float | None, notice: Callable[[str], None]
    ) -> TargetReader:
        """Open the table for reading. Raises: JobError when region, endpoint or credentials are missing."""
        from connectors.dynamodb.reading.reader import open_reader

        return await open_reader(section_of(job), _table(info), units_per_s, notice)

    def info_from(self, text: str) -> TargetInfo:
        """Return the table that another process has described."""
        from connectors.dynamodb.table_info import from_text

        return from_text(text)

    async def hand_over(self) -> str:
        """Return the credentials that this process has found: JSON, secret. Raises: PermanentError."""
        from connectors.dynamodb.http.credentials import to_hand_over

        return await to_hand_over()

    def take_over(self, text: str) -> None:
        """Use the credentials that the runner has found."""
        from connectors.dynamodb.http.credentials import take_over

        take_over(text)


def _table(info: TargetInfo) -> "TableInfo":
    from connectors.dynamodb.table_info import TableInfo

    assert isinstance(info, TableInfo), "what describes a table is this connector's own"
    return info


CONNECTOR = DynamoDBConnector()
