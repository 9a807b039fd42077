"""Whatever a table does, every item ends in it, or in a dead letter, once; and the tallies add up."""

import asyncio
import json
from random import Random

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from connectors.dynamodb.http.connection import Answer
from connectors.dynamodb.modes import PUT
from connectors.dynamodb.writing.settings import WriterSettings
from connectors.dynamodb.writing.writer import Writer
from engine.meter import Meter
from tests.support.encoded import delete, encoded, key_of, put
from tests.support.model_table import ModelTable, fault, lost
from tests.support.sending import TakingTurns
from tests.support.virtual_time import run_virtual

MOODS = (
    "fine",
    "part",
    "none",
    "refuse",
    "throttle",
    "hot",
    "error",
    "lost",
    "cut",
    "conflict",
    "expired",
    "html",
)


class Moody(ModelTable):
    """Follows a script of moods, then is fine; refuses what is bad for good."""

    def __init__(self, moods: list[str], bad: set[str]) -> None:
        super().__init__()
        self.moods = iter(moods)
        self.bad = bad
        self.before, self.after = self._answer_instead, self._answer_after
        self.mood = "fine"

    def _answer_instead(self, entries: list[dict]) -> Answer | None:
        self.mood = next(self.moods, "fine")
        reasons = [
            {"reason": "TableWriteKeyRangeThroughputExceeded", "resource": "arn:aws:dynamodb:::table/t"}
        ]
        match self.mood:
            case "throttle":
                return fault(400, "ProvisionedThroughputExceededException")
            case "hot":
                return fault(400, "ThrottlingException", throttlingReasons=reasons)
            case "error":
                return fault(500, "InternalServerError")
            case "conflict":
                return fault(400, "TransactionConflictException")
            case "expired":
                return fault(400, "ExpiredTokenException")
            case "cut":
                raise lost(sent=False)
        if any(key_of(entry)[0] in self.bad for entry in entries):
            return fault(400, "ValidationException", "bad item")
        if self.mood == "part":
            taken = [entry for entry in entries if self.random.random() < 0.6 and self._take(entry)]
            left = [entry for entry in entries if entry not in taken]
            self.random.shuffle(left)
            return Answer(200, json.dumps({"UnprocessedItems": {"t": left}}).encode(), None, 0.005)
        return None

    def _answer_after(self, entries: list[dict]) -> Answer | None:
        if self.mood == "lost":
            raise lost(sent=True)
        return Answer(502, b"<html>", None, 0.005) if self.mood == "html" else None


@st.composite
def batches(draw) -> tuple[list[list[tuple[str, str]]], set[int], set[str]]:
    partitions = draw(st.integers(1, 40))
    sizes = draw(st.lists(st.integers(0, 90), min_size=1, max_size=5))
    number, made = 0, []
    for size in sizes:
        made.append([(f"p{(number + n) % partitions}", str(number + n)) for n in range(size)])
        number += size
    deletes = draw(st.sets(st.integers(0, max(number - 1, 0)), max_size=20))
    bad = draw(st.sets(st.sampled_from([f"p{n}" for n in range(partitions)]), max_size=2))
    return made, deletes, bad


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(
    batches=([[("p0", str(n)) for n in range(26)]], set(), {"p0"}),
    moods=["fine", "expired", "expired"],
    cap=None,
    seed=0,
)
@given(
    batches=batches(),
    moods=st.lists(st.sampled_from(MOODS), max_size=60),
    cap=st.none() | st.sampled_from([20.0, 1000.0]),
    seed=st.integers(0, 2**16),
)
def test_every_item_is_settled_once(batches, moods, cap, seed):
    made, deletes, bad = batches

    async def scene() -> None:
        table = Moody(moods, bad)
        meter = Meter()

        async def renew() -> None:
            await asyncio.sleep(0.01)

        settings = WriterSettings(PUT, "t", ("PK", "SK"), ("r",), ("id",), 3600.0)
        writer = Writer(TakingTurns(table), settings, meter, renew, lambda _: None, Random(seed))
        writer.limit(cap)
        loads = [
            encoded(
                [delete(*key) if int(key[1]) in deletes else put(*key) for key in keys],
                units=1 + number % 3,
                segment=number % 2,
            )
            for number, keys in enumerate(made)
        ]
        reports = await asyncio.gather(*(writer.write(load) for load in loads))
        everything = {key for keys in made for key in keys}
        for report, keys in zip(reports, made, strict=True):
            gone = sum(int(key[1]) in deletes and key[0] not in bad for key in keys)
            assert report.items_deleted == gone
            assert len(report.dead_letters) == sum(key[0] in bad for key in keys)
            assert report.items_written == len(keys) - gone - len(report.dead_letters)
            assert report.items_skipped == 0
        assert set(table.items) == {key for key in everything if key[0] not in bad}
        for key, item in table.items.items():
            assert (item is None) == (int(key[1]) in deletes)
        assert meter.items_written == sum(report.items_written for report in reports)
        assert meter.items_deleted == sum(report.items_deleted for report in reports)
        assert meter.requests_in_flight == 0
        await writer.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(scene())
