"""What every target must pass, a stranger's too: run for DynamoDB and for the toy.

A connector of yours: add a `Case` that makes an empty place and replaces it, and nothing else.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from engine.batch import EncodedBatch, WriteReport
from engine.contracts.readback import Page
from engine.contracts.target import Taken, Target, TargetInfo, written
from engine.errors import JobError, PermanentError
from engine.job.model import Job
from engine.kinds import Column, RowSchema, Scalar
from engine.meter import Meter
from engine.registry import TARGETS, TargetConnector
from engine.rules.transform import compile_rules
from engine.state.dead_letters import REASONS
from engine.tenure import Tenure
from tests.support import toy_target
from tests.support.rules import batch
from tests.support.server_items import ONCE

SCHEMA = RowSchema(
    (Column("id", Scalar.INT), Column("name", Scalar.STRING), Column("gone", Scalar.BOOL)),
    ("id",),
    (frozenset({"id"}),),
)
COUNT = 60


def rows(ids: Sequence[int], *, name: str | None = "n", gone: bool = False) -> Any:
    return batch(
        {
            "id": (Scalar.INT, [str(n) for n in ids]),
            "name": (Scalar.STRING, [None if name is None else f"{name}{n}" for n in ids]),
            "gone": (Scalar.BOOL, ["true" if gone else "false"] * len(ids)),
        }
    )


@dataclass(frozen=True, slots=True)
class Case:
    """A target under test. `replace` puts another, empty one in its place."""

    section: dict[str, Any]
    key: dict[str, str]
    replace: Callable[[], None]

    @property
    def connector(self) -> TargetConnector:
        return TARGETS[self.section["type"]]

    def job(self, **rule: Any) -> Job:
        """A job that writes there; a rule that deletes the rows which are gone."""
        given = {
            "name": "R",
            "key": self.key,
            "attributes": {"name": "{name}"},
            "delete_when": "gone",
            **rule,
        }
        source = {"type": "postgres", "url": "postgres://127.0.0.1/x", "table": "t"}
        return Job.model_validate({"name": "job", "source": source, "target": self.section, "items": [given]})


@pytest.fixture(params=["dynamodb", "toy"])
def case(request: pytest.FixtureRequest, table_name: str) -> Any:
    if request.param == "toy":
        TARGETS.add("toy", toy_target.CONNECTOR)
        key = {"tenant": "T", "kind": "K", "id": "{id}"}
        yield Case({"type": "toy", "shelf": table_name}, key, lambda: toy_target.new_shelf(table_name))
        toy_target.SHELVES.pop(table_name, None)
        TARGETS.remove("toy")
        return
    endpoint = request.getfixturevalue("dynoxide")
    client = boto3.client("dynamodb", region_name="us-east-1", endpoint_url=endpoint, config=ONCE)
    section = {
        "type": "dynamodb",
        "table": table_name,
        "endpoint_url": endpoint,
        "region": "us-east-1",
        "create": {"partition_key": "PK", "sort_key": "SK"},
    }

    def replace() -> None:
        client.delete_table(TableName=table_name)
        client.create_table(
            TableName=table_name,
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("PK", "SK")],
            KeySchema=[
                {"AttributeName": "PK", "KeyType": "HASH"},
                {"AttributeName": "SK", "KeyType": "RANGE"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )

    yield Case(section, {"PK": "P#{id}", "SK": "S"}, replace)


@dataclass(slots=True)
class Opened:
    """A target opened for one job."""

    case: Case
    job: Job
    info: TargetInfo
    target: Target

    def encoded(self, ids: Sequence[int], **columns: Any) -> EncodedBatch:
        made = rows(ids, **columns)
        return self.target.encode(
            made, compile_rules(self.job, SCHEMA, None, self.case.connector.documents())(made)
        )

    async def write(self, ids: Sequence[int], **columns: Any) -> WriteReport:
        """Write rows' items and wait until they are acked, as the target's abilities say."""
        return await written(self.target, self.encoded(ids, **columns))

    async def there(self) -> list[Any]:
        """Everything that the target holds, by a scan of several segments."""
        reader = await self.case.connector.open_reader(self.job, self.info, None, print)
        try:
            found = []
            for segment in range(3):
                async for page in reader.scan(segment, 3):
                    page.digests()
                    found += [page.item(at) for at in range(page.count)]
            return found
        finally:
            await reader.close()


@pytest.fixture
async def opened(case: Case) -> AsyncIterator[Opened]:
    job = case.job()
    await case.connector.create(job, lambda _: None)
    async with AsyncExitStack() as stack:
        yield await opened_by(stack, case, job)


async def opened_by(stack: AsyncExitStack, case: Case, job: Job) -> Opened:
    info = await case.connector.describe(job)
    assert info is not None
    rules = compile_rules(job, SCHEMA, None, case.connector.documents()).rules
    target = await case.connector.open(job, info, SCHEMA, rules, Meter(), print, Tenure())
    stack.push_async_callback(target.close)
    return Opened(case, job, info, target)


async def test_it_is_not_there_before_it_is_made_and_the_same_one_afterwards(case: Case):
    job = case.job()
    assert await case.connector.describe(job) is None
    await case.connector.create(job, lambda _: None)
    info, again = await case.connector.describe(job), await case.connector.describe(job)
    assert info is not None
    assert again is not None
    assert info.identity == again.identity
    assert all(isinstance(part, str) for pair in info.identity.items() for part in pair)
    assert set(info.key) == set(case.key)
    await case.connector.create(job, lambda _: None) if case.section["type"] != "toy" else None
    there = case.connector.info_from(info.as_text())
    assert (there, there.identity, there.key) == (info, info.identity, info.key)


async def test_keys_of_other_attributes_are_refused(opened: Opened):
    opened.case.connector.check(opened.info, opened.job)
    first, *others = opened.case.key
    rule = opened.job.items[0]
    key = {f"{first}x": rule.key[first], **{name: rule.key[name] for name in others}}
    other = opened.job.model_copy(update={"items": (rule.model_copy(update={"key": key}),)})
    with pytest.raises(JobError, match="key"):
        opened.case.connector.check(opened.info, other)


async def test_no_rows_make_no_items(opened: Opened):
    encoded = opened.encoded([])
    assert (len(encoded), encoded.emitted, encoded.dead_letters) == (0, 0, ())


async def test_every_item_is_accounted_for(opened: Opened):
    encoded = opened.encoded([*range(COUNT), 1, 2])
    assert encoded.emitted == COUNT + 2
    assert len(encoded) == len(set(encoded.key_hashes.tolist())) == COUNT
    assert encoded.coalesced == 2
    assert encoded.offsets[-1] == len(encoded.text)
    assert sorted(encoded.rows.tolist())[-2:] == [COUNT, COUNT + 1], "the last of equal keys stays"


async def test_an_item_without_a_key_is_a_dead_letter_with_a_known_reason(opened: Opened, case: Case):
    job = case.job(key={**case.key, next(iter(case.key)): "{name}"})
    async with AsyncExitStack() as stack:
        other = await opened_by(stack, case, job)
        encoded = other.encoded([1, 2], name=None)
    assert len(encoded) == 0
    assert encoded.emitted == len(encoded.dead_letters) == 2
    assert encoded.letter_rows.tolist() == [0, 1]
    for letter in encoded.dead_letters:
        assert letter.reason in REASONS
        assert letter.source_key["id"] in ("1", "2")


async def test_what_is_written_is_read_back_and_twice_is_once(opened: Opened):
    for _ in range(2):
        report = await opened.write(range(COUNT))
        assert (report.items_written, report.items_deleted, report.dead_letters) == (COUNT, 0, ())
    codec = opened.case.connector.codec(opened.info)
    there = await opened.there()
    assert len(there) == COUNT
    encoded = opened.encoded(range(COUNT))
    sent = codec.sent(encoded, range(len(encoded)))
    assert all(codec.has_key(item) for item in there)
    expected, found = codec.sent_digests(encoded), codec.digests(there)
    pairs = [sorted(zip(d.keys.tolist(), d.contents.tolist(), strict=True)) for d in (expected, found)]
    assert pairs[0] == pairs[1]
    by_key = {codec.key_texts(item): item for item in there}
    for item in sent.items:
        assert item is not None
        assert codec.differing(item, by_key[codec.key_texts(item)]) == ()


async def test_an_item_that_differs_is_told_by_its_attribute(opened: Opened):
    await opened.write([1])
    codec = opened.case.connector.codec(opened.info)
    (there,) = await opened.there()
    other = codec.sent(opened.encoded([1], name="other"), [0]).items[0]
    assert other is not None
    assert codec.differing(there, other) == ("name",)
    first, second = codec.digests([there, other]).contents.tolist()
    assert first != second


async def test_items_are_read_by_their_keys(opened: Opened):
    await opened.write(range(10))
    codec = opened.case.connector.codec(opened.info)
    encoded = opened.encoded([3, 5, 77])
    keys = [codec.key_of(key) for key in codec.sent(encoded, range(3)).keys]
    reader = await opened.case.connector.open_reader(opened.job, opened.info, None, print)
    found = await reader.get(keys)
    await reader.close()
    assert {codec.key_texts(item) for item in found} == {codec.key_texts(key) for key in keys} - {
        codec.key_texts(key) for key in keys if "77" in "".join(codec.key_texts(key))
    }


async def test_a_scan_goes_on_behind_a_page_and_a_sample_is_of_what_is_there(opened: Opened):
    await opened.write(range(COUNT))
    codec = opened.case.connector.codec(opened.info)
    reader = await opened.case.connector.open_reader(opened.job, opened.info, None, print)

    def keys(page: Page) -> list[tuple[str, ...]]:
        assert len(page.digests().keys) == page.count
        return [codec.key_texts(page.item(at)) for at in range(page.count)]

    pages = [(keys(page), page.next) async for page in reader.scan(0, 1)]
    met = [key for some, _ in pages for key in some]
    assert len(met) == len(set(met)) == COUNT
    assert pages[-1][1] is None
    for number, (_, start) in enumerate(pages[:-1]):
        rest = [key async for page in reader.scan(0, 1, start) for key in keys(page)]
        assert sorted(rest) == sorted(key for some, _ in pages[number + 1 :] for key in some)
    drawn = [key async for page in reader.sample(10, 1) for key in keys(page)]
    assert drawn
    assert set(drawn) <= set(met)
    await reader.close()


async def test_items_that_no_row_stands_behind_are_deleted_by_their_keys(opened: Opened):
    await opened.write(range(10))
    codec = opened.case.connector.codec(opened.info)
    keys = [codec.key_of(item) for item in (await opened.there())[:3]]
    report = await written(opened.target, codec.deletes(rows([0]), keys))
    assert (report.items_written, report.items_deleted) == (0, 3)
    left = {codec.key_texts(item) for item in await opened.there()}
    assert len(left) == 7
    assert not left & {codec.key_texts(key) for key in keys}


async def test_deletes_remove_and_count_as_such(opened: Opened):
    assert opened.case.connector.abilities.deletes
    await opened.write(range(10))
    report = await opened.write(range(4), gone=True)
    assert (report.items_written, report.items_deleted) == (0, 4)
    assert len(await opened.there()) == 6


async def test_after_a_drain_nothing_new_is_begun_and_nothing_is_lost(opened: Opened):
    opened.target.drain()
    outcome = await opened.target.write(opened.encoded(range(COUNT)))
    written = len(await opened.there())
    if isinstance(outcome, WriteReport):
        assert written == outcome.items_written == COUNT
    elif isinstance(outcome, Taken):
        assert await outcome.report is None
    else:
        assert written == sum(fate != 0 for fate in outcome.fates.tolist())


async def test_a_look_tells_a_replaced_target_from_the_one_that_was_described(opened: Opened):
    async with opened.case.connector.watch(opened.job, opened.info) as look:
        assert await look() is None
        opened.case.replace()
        with pytest.raises(PermanentError):
            await look()


async def test_closing_twice_does_no_harm(opened: Opened):
    await opened.write([1])
    await opened.target.close()
    await opened.target.close()


async def test_credentials_are_handed_over_as_text(opened: Opened):
    text = await opened.case.connector.hand_over()
    opened.case.connector.take_over(text)
    assert isinstance(text, str)
