"""A watermark that is too late loses changes for good: no later run reads them."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.mongodb.watermark import next_watermark

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def client(lifetime_s: int) -> Any:
    async def command(asked: dict[str, Any]) -> dict[str, Any]:
        return {"transactionLifetimeLimitSeconds": lifetime_s}

    return SimpleNamespace(admin=SimpleNamespace(command=command))


@pytest.mark.parametrize(
    ("snapshot_s_before", "watermark"),
    [
        (None, "2026-01-01T11:59:00Z"),
        (0, "2026-01-01T11:59:00Z"),
        (-3600, "2026-01-01T11:59:00Z"),  # a cluster's clock may run ahead
        (3600, "2026-01-01T10:59:00Z"),  # a member is away: what most have is an hour old
    ],
)
async def test_the_next_run_reads_from_before_what_the_snapshot_could_see(
    snapshot_s_before: int | None, watermark: str
) -> None:
    at = None if snapshot_s_before is None else f"{int(NOW.timestamp()) - snapshot_s_before}.7"
    assert await next_watermark(client(60), NOW, at) == watermark
