"""Whoever writes a few items waits for their ack, whatever the target acks by."""

import asyncio

import pytest

from engine.batch import WriteReport
from engine.contracts.target import Taken, written

REPORT = WriteReport(2, 0, 0, ())


class ByObject:
    """Acks what it has taken once its object is closed."""

    def __init__(self, report=REPORT):
        self.closed = asyncio.get_running_loop().create_future()
        self.report = report

    async def write(self, encoded):
        return Taken(self.closed)

    def flush(self):
        self.closed.set_result(self.report)


class ByItem:
    async def write(self, encoded):
        return REPORT


@pytest.mark.parametrize("kind", [ByObject, ByItem])
async def test_items_are_acked_when_it_returns(kind):
    assert await asyncio.wait_for(written(kind(), None), 30) == REPORT


async def test_what_a_drained_target_gave_up_is_never_called_written():
    with pytest.raises(AssertionError):
        await written(ByObject(report=None), None)
