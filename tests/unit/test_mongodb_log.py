"""Places in MongoDB's log, changes that are gathered, where a stream's reading ends: on recorded answers."""

from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import bson
import pytest
from bson import Binary, ObjectId, Timestamp
from bson.raw_bson import RawBSONDocument

from connectors.log_progress import LogProgress
from connectors.mongodb.changes import Changes, GatheredChanges
from connectors.mongodb.feed import MongoDBFeed
from connectors.mongodb.place_in_log import PlaceInLog, time_of
from connectors.mongodb.streaming import images_of
from engine.errors import JobError, PermanentError

START = PlaceInLog(Timestamp(1_795_906_000, 5), frozenset({16}))
SHARD_KEY = {"region": "eu", "_id": 1}


def raw(document: dict[str, Any]) -> RawBSONDocument:
    return RawBSONDocument(bson.encode(document))


def token(seconds: int, increment: int = 1, **more: Any) -> RawBSONDocument:
    """Return a token as servers write them; recorded: 826B0B5AD3000000022B0229296E04."""
    return raw({"_data": f"82{START.time.time + seconds:08X}{increment:08X}2B0229296E04", **more})


def event(seconds: int, kind: str = "update", key: Any = 1, **more: Any) -> RawBSONDocument:
    key = key if isinstance(key, dict) else {"_id": key}
    return raw(
        {
            "_id": token(seconds),
            "operationType": kind,
            "clusterTime": Timestamp(START.time.time + seconds, 1),
            "documentKey": key,
            **more,
        }
    )


def gathering(place: PlaceInLog = START, **changes: Any) -> GatheredChanges:
    settings: dict[str, Any] = {"alike": {}, "images": False, "rows_max": 100, "bytes_max": 10_000}
    return GatheredChanges("c", place, **settings | changes)


def test_a_place_is_found_again_by_its_text() -> None:
    told = START.behind(token(7, 3, _typeBits=Binary(b"\x46")))
    assert told.text.startswith("2026-11-28T22:46:47Z/3/16/")
    for place in (START, told, replace(START, types=frozenset()), replace(told, types=frozenset({1, 16}))):
        assert PlaceInLog.read(place.text) == place
    assert told.token == token(7, 3, _typeBits=Binary(b"\x46")).raw
    with pytest.raises(JobError, match="--fresh"):
        PlaceInLog.read("2026-11-28T22:46:47Z")


def test_a_token_of_another_form_is_an_error_and_no_guess() -> None:
    assert time_of(raw({"_data": "826B0B5AD3000000022B0229296E04"})) == Timestamp(0x6B0B5AD3, 2)
    for other in ({"_data": b"\x82k"}, {"_data": "29296E04"}, {"opaque": 1}):
        with pytest.raises(PermanentError, match=r"source\.watermark"):
            time_of(raw(other))


def test_changes_are_gathered_once_each_in_the_order_of_the_log() -> None:
    gathered = gathering()
    for each in (event(1, "insert", 5), event(2, key=6), event(3, key=SHARD_KEY), event(4, "delete", 6)):
        assert gathered.take(each) is None
    part = gathered.rest()
    ids = [bson.decode(element) for element in part.ids]
    assert ids == [{"_id": 5}, {"_id": 6}, {"_id": 1}]
    assert list(part.old) == list(part.ids)[1:], "what was inserted had no item before"
    assert part.time == Timestamp(START.time.time + 4, 1)
    assert part.place.token == token(4).raw
    assert len(gathered) == 0


def test_what_was_read_before_is_passed_over_and_a_token_says_itself_what_that_is() -> None:
    gathered = gathering()
    gathered.take(event(0))
    assert len(gathered) == 0
    gathered.take(event(1))
    assert len(gathered) == 2
    within = gathering(START.behind(token(9)))  # of a transaction, whose changes have one time
    within.take(event(9))
    assert len(within) == 2


def test_parts_are_bounded_by_changes_and_by_what_old_documents_take() -> None:
    gathered = gathering(rows_max=4)
    assert gathered.take(event(1, key=1)) is None
    assert len(gathered.take(event(2, key=2)) or ()) == 4
    gathered = gathering(images=True, bytes_max=5_000)
    images = ({"_id": n, "v": "x" * 3_000} for n in range(2))
    first, second = (event(n, fullDocumentBeforeChange=image) for n, image in enumerate(images, 1))
    assert gathered.take(first) is None
    assert isinstance(gathered.take(second), Changes)


@pytest.mark.parametrize("kind", ["drop", "rename", "dropDatabase", "invalidate", "reshardCollection"])
def test_what_ends_a_log_or_is_not_known_ends_the_run(kind: str) -> None:
    with pytest.raises(PermanentError, match="--fresh"):
        gathering().take(event(1, kind))


def test_a_pre_image_that_is_not_there_is_never_taken_for_none() -> None:
    for gone in ({}, {"fullDocumentBeforeChange": None}):
        with pytest.raises(PermanentError, match="expireAfterSeconds"):
            gathering(images=True).take(event(1, **gone))
    gathered = gathering(images=True)
    gathered.take(event(1, "insert"))
    assert len(gathered) == 1


@pytest.mark.parametrize(
    ("alike", "values", "good"),
    [
        ({"a.b": str}, ["x", None, "y"], True),
        ({"a.b": str}, ["x", ObjectId()], False),
        ({"a.b": ObjectId}, [ObjectId()], True),
        ({"a.b": None}, [ObjectId(), ObjectId()], True),
        ({"a.b": None}, ["x", ObjectId()], False),
        ({"a.b": None}, [5], False),
    ],
)
def test_fields_that_prove_keys_held_one_type_all_the_time(
    alike: dict[str, type | None], values: list[Any], good: bool
) -> None:
    gathered = gathering(images=True, alike=alike)
    changes = [event(n, fullDocumentBeforeChange={"_id": 1, "a": {"b": v}}) for n, v in enumerate(values, 1)]
    if good:
        assert [gathered.take(change) for change in changes] == [None] * len(values)
        return
    for change in changes[:-1]:
        gathered.take(change)
    with pytest.raises(PermanentError, match="another type"):
        gathered.take(changes[-1])


def test_an_id_of_another_type_ends_the_run() -> None:
    with pytest.raises(PermanentError, match="another type"):
        gathering().take(event(1, key="1"))
    gathering(replace(START, types=frozenset())).take(event(1, key="1"))


def test_names_that_cannot_be_asked_for_bring_whole_documents() -> None:
    before = "fullDocumentBeforeChange"
    assert images_of(frozenset({"v"})) == [f"{before}._id", f"{before}.v"]
    for odd in ("a.b", "$v"):
        assert images_of(frozenset({odd})) == [before]


class Recorded:
    """A change stream that gives what was recorded: events, None where the server had none, and tokens."""

    def __init__(self, answers: Sequence[tuple[RawBSONDocument | None, RawBSONDocument]]) -> None:
        self._answers: Iterator[Any] = iter(answers)
        self.resume_token: RawBSONDocument | None = None
        self.asked = 0

    async def try_next(self) -> RawBSONDocument | None:
        self.asked += 1
        found, self.resume_token = next(self._answers)
        return found


async def parts_of(
    stream: Recorded, until: Timestamp, kind: str, progress: LogProgress | None = None
) -> list[Changes]:
    """Return what a feed makes of a stream, read by itself."""
    feed: Any = object.__new__(MongoDBFeed)
    feed._section = SimpleNamespace(collection="c")
    feed._opened = SimpleNamespace(alike={})
    feed._view = SimpleNamespace(server=SimpleNamespace(kind=kind))
    feed._needed, feed._place = frozenset({"_id"}), "here"
    feed._progress, feed._number = progress or LogProgress(), 0

    @asynccontextmanager
    async def opened(done: PlaceInLog) -> Any:
        yield stream

    feed._stream = opened
    return [part async for part in feed._parts(START, PlaceInLog(until, START.types))]


UNTIL = Timestamp(START.time.time + 50, 1)


@pytest.mark.parametrize(
    ("kind", "answers", "asked"),
    [
        ("set", [(event(60), token(60))], 1),
        ("set", [(None, token(51))], 1),
        ("set", [(None, token(50)), (None, token(50))], 2),
        ("set", [(None, token(50)), (event(50), token(50)), (None, token(50)), (None, token(50))], 4),
        ("sharded", [(None, token(50)), (None, token(50)), (None, token(50)), (None, token(51))], 4),
    ],
)
async def test_a_pass_ends_only_where_nothing_can_follow(kind: str, answers: Any, asked: int) -> None:
    """Shards' logs are merged: up to the very time of the end, another shard's change may still come."""
    stream = Recorded(answers)
    parts = await parts_of(stream, UNTIL, kind)
    assert stream.asked == asked
    assert parts[-1].place == PlaceInLog(UNTIL, START.types)
    assert sum(map(len, parts)) == 2 * sum(each == event(50) for each, _ in answers)


class Clocked(LogProgress):
    """A server whose clock says what is wanted, once each."""

    def __init__(self, moments_s: Sequence[float]) -> None:
        super().__init__()
        self._moments_s = iter(moments_s)

    @property
    def clock_s(self) -> float | None:
        return next(self._moments_s)


async def test_a_quiet_log_is_told_of_every_other_second_though_nothing_is_written_to_it() -> None:
    """Where nothing happens the server writes to its log every 10 s: places tell what is covered too late."""
    silent = [(None, token(seconds)) for seconds in (1, 1, 1, 1, 11)]
    progress = Clocked([100.0, 100.1, 101.9, 102.5, 103.0, 104.6, 104.7])
    parts = await parts_of(Recorded([*silent, (None, token(51))]), UNTIL, "set", progress)
    assert [(part.place.token, part.at_s) for part in parts] == [
        (token(1).raw, 102.5), (token(11).raw, 104.6), (None, None),
    ]  # fmt: skip
    assert [len(part) for part in parts] == [0, 0, 0]


async def test_how_far_behind_a_quiet_log_is_goes_by_the_server_s_clock() -> None:
    progress, server_s = LogProgress(), 5_000_000.0
    progress.clock_is(server_s)
    await parts_of(Recorded([(None, token(1)), (None, token(51))]), UNTIL, "set", progress)
    assert progress.clock_s is not None
    assert server_s <= progress.clock_s < server_s + 3_600
    assert progress.figures.lag_s is not None
    assert progress.figures.lag_s < 3_600
