"""A request whose answer was lost may still be applied: till then no newer item of its keys is sent."""

import asyncio
import json
from collections import defaultdict

import pytest

from connectors.dynamodb.http.connection import Answer
from connectors.dynamodb.limits import REQUEST_LIFE_S
from connectors.dynamodb.modes import INSERT, NEWER, PUT
from connectors.dynamodb.writing.open_batch import OpenBatch
from connectors.dynamodb.writing.requests import ItemSpan, Request
from connectors.dynamodb.writing.unknown_requests import UnknownRequests, may_be_overwritten
from engine.batch import Fates
from engine.errors import PermanentError
from tests.support.encoded import delete, encoded, put, text
from tests.support.model_table import fault, lost
from tests.support.writing import Scene, on_virtual_time


class LateTable:
    """Cuts the connection of some requests and applies them long after, as a server may."""

    def __init__(self, cut: int, late_s: float, sent: bool = True) -> None:
        self.cut, self.late_s, self.sent = cut, late_s, sent
        self.live: dict[str, list[str]] = defaultdict(list)
        self.history: list[tuple[float, str, str]] = []
        self.together: list[tuple[str, list[str]]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.loop = asyncio.get_running_loop()

    async def send(self, operation, parts) -> Answer:
        (entries,) = json.loads(b"".join(parts))["RequestItems"].values()
        values = {e["PutRequest"]["Item"]["PK"]["S"]: e["PutRequest"]["Item"]["v"]["S"] for e in entries}
        for key, value in values.items():
            self.live[key].append(value)
            if len(set(self.live[key])) > 1:
                self.together.append((key, list(self.live[key])))
        self.cut -= 1
        if self.cut >= 0:
            self.tasks.append(asyncio.create_task(self._apply(values, self.late_s)))
            raise lost(self.sent)
        await self._apply(values, 0.005)
        return Answer(200, b'{"UnprocessedItems":{}}', None, 0.005)

    async def _apply(self, values: dict[str, str], after_s: float) -> None:
        await asyncio.sleep(after_s)
        for key, value in values.items():
            self.live[key].remove(value)
            self.history.append((self.loop.time(), key, value))


def version(value: str, keys: range = range(50)):
    return encoded([put(f"k{key}", v=text(value)) for key in keys])


@on_virtual_time
async def test_a_newer_item_waits_until_the_lost_request_of_its_key_is_over():
    table = LateTable(cut=2, late_s=REQUEST_LIFE_S - 1.0)
    scene = Scene(table)
    for value in ("1", "2", "3"):
        await scene.writer.write(version(value))
    await asyncio.gather(*table.tasks)
    assert table.together == [], "two items of one key at the server at a time"
    last = {key: value for _, key, value in table.history}
    assert set(last.values()) == {"3"}, "an older item over a newer one"
    await scene.writer.close()


@on_virtual_time
async def test_other_keys_and_requests_that_never_left_wait_for_nobody():
    loop = asyncio.get_running_loop()
    scene = Scene(LateTable(cut=2, late_s=1.0))
    await scene.writer.write(version("1"))
    began = loop.time()
    await scene.writer.write(version("1", range(50, 100)))
    assert loop.time() - began < 1.0
    await scene.writer.close()
    scene = Scene(LateTable(cut=2, late_s=0.0, sent=False))
    await scene.writer.write(version("1"))
    await scene.writer.write(version("2"))
    assert loop.time() - began < 2.0
    await scene.writer.close()


@on_virtual_time
async def test_a_stop_does_not_wait_for_lost_requests():
    loop = asyncio.get_running_loop()
    scene = Scene(LateTable(cut=2, late_s=1.0))
    await scene.writer.write(version("1"))
    newer = asyncio.create_task(scene.writer.write(version("2")))
    await asyncio.sleep(1.0)
    assert not newer.done()
    began = loop.time()
    scene.writer.drain()
    assert isinstance(await newer, Fates), "nothing of it was begun"
    assert loop.time() == began
    await scene.writer.close()


@on_virtual_time
async def test_what_failed_inside_or_in_between_is_unknown_and_what_was_refused_is_not():
    loop = asyncio.get_running_loop()
    cases = ((504, "", True), (500, "InternalServerError", True), (503, "ServiceUnavailable", True))
    for status, code, waits in (*cases, (400, "ThrottlingException", False)):
        table = LateTable(cut=0, late_s=0.0)
        answers = iter([fault(status, code)])
        send = table.send

        async def first(operation, parts, answers=answers, send=send):
            return next(answers, None) or await send(operation, parts)

        table.send = first
        scene = Scene(table)
        await scene.writer.write(version("1"))
        began = loop.time()
        await scene.writer.write(version("2"))
        assert (loop.time() - began > REQUEST_LIFE_S / 2) is waits
        await scene.writer.close()


@on_virtual_time
async def test_an_error_that_ends_it_all_lets_nobody_wait():
    loop = asyncio.get_running_loop()
    table = LateTable(cut=2, late_s=0.0)
    scene = Scene(table)
    await scene.writer.write(version("1"))
    waiting = asyncio.create_task(scene.writer.write(version("2")))
    await asyncio.sleep(0.1)

    async def forbidden(operation, parts):
        return fault(400, "AccessDeniedException", "no")

    table.send = forbidden
    began = loop.time()
    for failing in (scene.writer.write(version("1", range(90, 95))), waiting):
        with pytest.raises(PermanentError):
            await failing
    assert loop.time() - began < 0.1
    await scene.writer.close()


def test_keys_are_forgotten_in_time():
    unknown = UnknownRequests()
    assert not unknown
    assert unknown.wait_s(version("1"), 0.0) == 0.0
    for number in range(10):
        batch = OpenBatch(version("1", range(50 * number, 50 * number + 50)))
        unknown.add(Request([ItemSpan(batch, 0, 50)], 50, 50), number * REQUEST_LIFE_S)
    assert len(unknown._until) <= 100, "what is over takes no memory"


@pytest.mark.parametrize("passed_s", [0.0, 2.0, REQUEST_LIFE_S])
def test_a_key_is_held_for_the_longest_life_of_a_request(passed_s):
    batch = OpenBatch(version("1"))
    unknown = UnknownRequests()
    unknown.add(Request([ItemSpan(batch, 0, 25)], 25, 25), 100.0)
    assert unknown.wait_s(version("2"), 100.0 + passed_s) == pytest.approx(REQUEST_LIFE_S - passed_s)
    assert unknown.wait_s(version("2", range(25, 50)), 100.0) == 0.0


def test_only_what_an_older_item_could_undo_waits():
    """Conditions keep it out: of `insert` always, of `newer` unless a delete leaves no version behind."""
    puts, deletes = encoded([put("k1")]), encoded([put("k1"), delete("k2")])
    assert may_be_overwritten(PUT, puts)
    assert not may_be_overwritten(INSERT, puts)
    assert not may_be_overwritten(NEWER, puts)
    assert may_be_overwritten(NEWER, deletes)


@on_virtual_time
async def test_a_newer_version_waits_for_no_lost_request():
    """Noise must not cost seconds a batch where the server's condition keeps order by itself."""

    class Cuts:
        cut = 1

        async def send(self, operation, parts) -> Answer:
            self.cut -= 1
            if self.cut >= 0:
                raise lost(True)
            return Answer(200, b"{}", None, 0.005)

    scene = Scene(Cuts(), mode="newer")
    begun = asyncio.get_running_loop().time()
    for _ in range(3):
        await scene.writer.write(encoded([{"Item": {"PK": text("k1")}}], keys=[("k1", "")]))
    assert asyncio.get_running_loop().time() - begun < REQUEST_LIFE_S / 2, "by the clock of the test"
    await scene.writer.close()
