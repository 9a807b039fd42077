"""aiobotocore with 32 workers that take batches of 25 off a queue; rows come through asyncpg."""

import asyncio
import sys
from typing import Any

import asyncpg
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from bench.peers.orders import FETCH_ROWS, QUERY, endpoint, item, started

WORKERS = 32
BATCH = 25


def serialize(value: Any) -> dict[str, Any]:
    """Tag a value with its type; a third of what boto3's TypeSerializer takes."""
    if isinstance(value, str):
        return {"S": value}
    return {"BOOL": value} if isinstance(value, bool) else {"N": str(value)}


async def main(count: int) -> None:
    """Load so many orders."""
    queue: asyncio.Queue[list[dict[str, Any]] | None] = asyncio.Queue(2 * WORKERS)
    config = AioConfig(max_pool_connections=WORKERS)
    async with get_session().create_client("dynamodb", endpoint_url=endpoint(), config=config) as client:
        started()

        async def work() -> None:
            while (batch := await queue.get()) is not None:
                pending: Any = {"orders": batch}
                while pending:
                    pending = (await client.batch_write_item(RequestItems=pending))["UnprocessedItems"]

        async with asyncio.TaskGroup() as workers:
            for _ in range(WORKERS):
                workers.create_task(work())
            connection = await asyncpg.connect(server_settings={"timezone": "UTC"})
            batch: list[dict[str, Any]] = []
            async with connection.transaction():
                async for row in connection.cursor(f"{QUERY}{count}", prefetch=FETCH_ROWS):
                    values = {name: serialize(value) for name, value in item(row).items()}
                    batch.append({"PutRequest": {"Item": values}})
                    if len(batch) == BATCH:
                        await queue.put(batch)
                        batch = []
            if batch:
                await queue.put(batch)
            for _ in range(WORKERS):
                await queue.put(None)
            await connection.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
