"""The watermark where nothing can be promised: it stays where it was."""

from types import SimpleNamespace
from typing import Any

import pytest

from connectors.postgres import snapshot
from connectors.postgres.settings import LOSSY
from engine.errors import JobError

pytestmark = pytest.mark.asyncio

SINCE = "2024-01-01T00:00:00.000000Z"
CLOCK = "2024-06-01T00:00:00.000000Z"
OLDEST = "2024-05-31T23:00:00.000000Z"


class Server:
    """Answers what next_watermark asks, and notes in which order."""

    def __init__(
        self, *, standby: bool = False, sees_all: bool = True, prepared: int = 0, hidden: bool = False
    ) -> None:
        self.asked: list[str] = []
        self._answers = {
            "pg_is_in_recovery": standby,
            "pg_has_role": sees_all,
            "SELECT current_user": "ann",
            "clock_timestamp": CLOCK,
            "pg_prepared_xacts": prepared,
        }
        self._seen = {"oldest": OLDEST, "hidden": hidden}

    def get_server_version(self) -> Any:
        return SimpleNamespace(major=18)

    def is_closed(self) -> bool:
        return False

    async def execute(self, _: str, **__: Any) -> None:
        pass

    async def fetchval(self, sql: str, *_: Any) -> Any:
        name = next(part for part in self._answers if part in sql)
        self.asked.append(name)
        return self._answers[name]

    async def fetchrow(self, sql: str, clock: str | None = None) -> Any:
        if clock is None:
            return dict.fromkeys(LOSSY, "off")
        assert clock == CLOCK
        self.asked.append("pg_stat_activity")
        return self._seen


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "SETTLE_S", 0)


async def test_the_oldest_open_transaction_is_the_watermark() -> None:
    server = Server()
    assert await snapshot.next_watermark(server, SINCE) == snapshot.NextWatermark(OLDEST)
    # The clock before the look at the transactions, prepared ones only after it: none slips through between.
    order = [
        server.asked.index(name) for name in ("clock_timestamp", "pg_stat_activity", "pg_prepared_xacts")
    ]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("server", "word"),
    [
        (Server(standby=True), "standby"),
        (Server(prepared=1), "Prepared"),
        (Server(hidden=True), "track_activities"),
    ],
)
@pytest.mark.parametrize("since", [None, SINCE])
async def test_where_a_start_is_hidden_the_watermark_does_not_advance(
    server: Server, word: str, since: str | None
) -> None:
    got = await snapshot.next_watermark(server, since)
    assert got.value == since
    assert word in (got.notice or "")


async def test_a_role_that_sees_too_little_is_refused() -> None:
    with pytest.raises(JobError, match='GRANT pg_read_all_stats TO "ann"'):
        await snapshot.next_watermark(Server(sees_all=False), SINCE)
