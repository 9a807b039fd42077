"""A writer before a table in memory, on virtual time."""

import asyncio
import functools
from random import Random

from connectors.dynamodb.modes import write_mode
from connectors.dynamodb.writing.settings import WriterSettings
from connectors.dynamodb.writing.writer import Writer
from engine.meter import Meter
from engine.tenure import NEVER, Tenure
from tests.support.encoded import put
from tests.support.sending import TakingTurns
from tests.support.virtual_time import run_virtual


class Scene:
    def __init__(
        self,
        table,
        mode: str = "put",
        give_up_after_s: float = 600.0,
        fail_on_refusal: bool = False,
        stop_after_refusals: int | None = None,
        tenure: Tenure | None = None,
        wcu_start: float = NEVER,
    ):
        self.table = table
        self.meter = Meter()
        self.notices: list[str] = []
        self.decisions: list[object] = []
        self.renewals = 0
        settings = WriterSettings(
            write_mode(mode),
            "t",
            ("PK", "SK"),
            ("Order",),
            ("id",),
            give_up_after_s,
            fail_on_refusal,
            stop_after_refusals=stop_after_refusals,
            wcu_start=wcu_start,
        )
        self.writer = Writer(
            TakingTurns(table),
            settings,
            self.meter,
            self.renew,
            self.notices.append,
            Random(1),
            tenure,
            self.decisions.append,
        )

    async def renew(self) -> None:
        self.renewals += 1
        await asyncio.sleep(0.1)


def puts(count: int, prefix: str = "p") -> list[dict]:
    return [put(f"{prefix}{number}") for number in range(count)]


def on_virtual_time(test):
    @functools.wraps(test)
    def run(*args, **kwargs):
        run_virtual(test(*args, **kwargs))

    return run
