"""Whether somebody runs a job whose state is in a DynamoDB table, on whatever machine.

Invariant: reads only; a lease that has run out counts as given back.
"""

import time
from collections.abc import Callable

from connectors.dynamodb.http.session import open_session
from connectors.dynamodb.state.section import DynamoDBStateSection
from connectors.dynamodb.state.table import StateTable


async def alive(section: DynamoDBStateSection, job_name: str, clock: Callable[[], float] = time.time) -> bool:
    """Return whether a runner holds the job's lease. The table must be there."""
    session = await open_session(section.as_target())
    async with session.calls() as call:
        lease = await StateTable(call, section.table, job_name).get("LEASE")
    return lease is not None and float(lease["expires_at"]["N"]) > clock()
