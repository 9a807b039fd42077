"""Settled keys against brute force: whatever the batches are, each key is written once, by its winner."""

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.dynamodb.reading.codec import TableCodec
from engine.batch import Batch, EncodedBatch
from engine.commands.hash_store import HashStore
from engine.commands.run.contest import NO_WINNERS, Winners, met_twice, settle
from engine.commands.run.key_notes import CONTENDER, HASH, contenders_into, hashes_into
from engine.kinds import Scalar
from engine.run.settlement import Settlement
from tests.support.items import check, encoder, rule_items

CODEC = TableCodec([("PK", "S"), ("SK", "S")])
KINDS = {"PK": Scalar.STRING, "SK": Scalar.STRING, "v": Scalar.STRING}
Row = list[int]
"""The keys that a row makes, with a rule for each place; a negative one is deleted."""


def encode(rows: list[Row], first: int, segment: int, sequence: int, mode: str) -> EncodedBatch:
    texts = pa.array([str(first + at) for at in range(len(rows))])
    batch = Batch(segment, sequence, pa.RecordBatch.from_pydict({"id": texts}), None)
    rules = [
        rule_items(
            KINDS,
            [
                {"PK": f"K{abs(row[place])}", "SK": "s", "v": f"{first + at}.{place}", "row": at,
                 "delete": row[place] < 0}
                for at, row in enumerate(rows)
                if place < len(row)
            ],
            rule=place,
        )
        for place in range(3)
    ]  # fmt: skip
    return encoder(mode=mode).encode(batch, rules)


def batches(rows: list[Row], cuts: set[int], segments: set[int], mode: str) -> list[EncodedBatch]:
    """Cut rows into batches, and batches into segments."""
    edges = sorted({0, len(rows), *(at for at in cuts | segments if at < len(rows))})
    made, segment, sequence = [], 0, 0
    for start, stop in pairwise(edges):
        if start in segments and start:
            segment, sequence = segment + 1, 0
        made.append(encode(rows[start:stop], start, segment, sequence, mode))
        sequence += 1
    return made


def found_out(noted: list[EncodedBatch], first: bool, always: Winners = NO_WINNERS) -> Winners:
    with TemporaryDirectory() as folder:
        hashes, some = (Path(folder) / name for name in ("all", "some"))
        hashes.mkdir()
        some.mkdir()
        store = HashStore(hashes, HASH, advice="")
        for each in noted:
            hashes_into(store)(each)
        parts = [met_twice(together) for together in store.merged()]
        suspects = np.unique(np.concatenate([*parts, always.keys]))
        store = HashStore(some, CONTENDER, advice="")
        for each in noted:
            contenders_into(store, suspects, ("id",), CODEC)(each)
        winners = NO_WINNERS
        for together in store.merged():
            told = settle(together, first=first, always=always.keys)
            assert isinstance(told, Winners), told
            winners = winners.joined(told)
        return winners


def written(encoded: EncodedBatch) -> list[tuple[str, str | None]]:
    sent = CODEC.sent(encoded, range(len(encoded)))
    return [
        (key["PK"]["S"], None if item is None else item["v"]["S"])
        for key, item in zip(sent.keys, sent.items, strict=True)
    ]


rows_of = st.lists(st.lists(st.integers(-3, 12).filter(bool), max_size=3), max_size=40)
places = st.sets(st.integers(1, 39), max_size=8)


@pytest.mark.parametrize("mode", ["put", "insert"])
@given(rows=rows_of, cuts=places, others=places, segments=places, order=st.randoms())
def test_each_key_is_written_once_by_the_row_that_wins(
    mode: str, rows: list[Row], cuts: set[int], others: set[int], segments: set[int], order
) -> None:
    expected: dict[str, str | None] = {}
    for at, row in enumerate(rows):
        for place, key in enumerate(row):
            value = None if key < 0 else f"{at}.{place}"
            if mode == "put" or (key > 0 and f"K{key}" not in expected):
                expected[f"K{abs(key)}"] = value
    winners = found_out(batches(rows, cuts, segments, mode), mode == "insert")
    settlement = Settlement(winners.keys, winners.rows, ("id",))
    run = batches(rows, others, segments, mode)
    order.shuffle(run)
    done: list[tuple[str, str | None]] = []
    for each in run:
        left = settlement.applied(each)
        check(left)
        assert left.emitted == each.emitted
        done += written(left)
    assert len(done) == len(dict(done)), "a key is written twice"
    assert dict(done) == expected
    alone = [item for each in run for item in written(settlement.alone(each))]
    assert set(alone) <= set(done)
    assert len(alone) == len(winners)


@given(rows=rows_of, cuts=places)
def test_a_key_that_was_contested_before_has_its_one_row_told(rows: list[Row], cuts: set[int]) -> None:
    made = batches(rows, cuts, set(), "put")
    every = np.unique(np.concatenate([np.empty(0, np.uint64), *(each.key_hashes for each in made)]))
    before = Winners(every, np.zeros(len(every), np.uint64))
    now = found_out(made, first=False, always=before)
    assert now.keys.tolist() == every.tolist()
    assert now.unlike(before).keys.tolist() == every.tolist()
    assert len(now.unlike(now)) == 0
    assert before.joined(now).rows.tolist() == now.rows.tolist()


def contenders(*records: tuple[int, int, int, int]) -> np.ndarray:
    made = np.zeros(len(records), CONTENDER)
    for at, (key, text, place, row) in enumerate(records):
        made[at] = (key, (text, text), place, row, False)
    return made


def test_two_keys_with_one_hash_settle_nothing() -> None:
    assert settle(contenders((5, 1, 0, 10), (5, 2, 1, 11)), first=False) == "two keys have one hash"
    told = settle(contenders((5, 1, 0, 10), (5, 1, 1, 11)), first=False)
    assert isinstance(told, Winners)
    assert told.rows.tolist() == [11]


def test_rows_that_look_alike_settle_nothing() -> None:
    told = settle(contenders((5, 1, 0, 10), (5, 1, 1, 11), (5, 1, 2, 10)), first=False)
    assert told == "rows that make one key have the same source.key"


def test_what_settlement_leaves_out_waits_for_no_other_batch() -> None:
    encoded = encode([[1], [2], [1]], 0, 0, 0, "put")
    winners = Winners(np.sort(encoded.key_hashes), np.zeros(2, np.uint64))
    left = Settlement(winners.keys, winners.rows, ("id",)).applied(encoded)
    assert len(left) == 0
    assert sorted(left.coalesced_rows.tolist()) == [0, 1, 2]
    own = left.coalesced_rows == left.survivor_rows
    assert own.sum() == 2, "an item of a loser is settled with its own row"
